module banyandb.test/sample

go 1.22
