# SPDX-License-Identifier: Apache-2.0
"""Occurrences are kept over the end of the agent, and a broken file is a new beginning."""

import asyncio
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fodc_agent.occurrences.keeping import BrokenNotesError, Notes, PressureRecord, read, written
from fodc_agent.occurrences.notebook import FILE, Notebook
from fodc_agent.occurrences.rules import Life, Remembered
from fodc_protocol.link.event_queue import EventQueue, KeptEvents

TEXT = st.text(max_size=20)


def some_notes(*texts):
    queue = EventQueue("life-1")
    for text in texts:
        queue.add("crash", text, {"crash": text}, 5)
    record = PressureRecord("20260101T000000.000000000Z", 5, 800, 1000, 75, {"heap": "own-1"})
    remembered = Remembered(Life(7, 100, 5_000), "a", is_gone=True, is_away=True)
    return Notes(queue.kept(), remembered, (record,), {"own-2": 7})


@given(st.lists(TEXT, max_size=4))
def test_what_is_written_is_read_again(texts):
    notes = some_notes(*texts)
    again = read(written(notes))
    if not any(0xD800 <= ord(one) < 0xE000 for text in texts for one in text):
        assert again == notes
    assert read(written(Notes())) == Notes()


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_is_read_is_notes_or_a_named_error(text):
    with contextlib.suppress(BrokenNotesError):
        read(text)


@given(st.data())
def test_a_document_with_any_other_value_in_it_is_notes_or_a_named_error(data):
    document = json.loads(written(some_notes("x")))
    name = data.draw(st.sampled_from(sorted(document)))
    document[name] = data.draw(
        st.none() | st.integers(-2, 9) | st.lists(st.integers()) | st.lists(st.lists(TEXT)) | TEXT
    )
    with contextlib.suppress(BrokenNotesError):
        read(json.dumps(document).encode())


def test_notes_of_an_agent_that_did_not_note_what_it_had_told_are_read():
    document = json.loads(written(some_notes("x")))
    del document["gone"], document["away"]

    assert read(json.dumps(document).encode()).remembered == Remembered(Life(7, 100, 5_000), "a")


def test_a_count_that_cannot_be_is_refused():
    document = json.loads(written(some_notes("x")))
    document["produced"] = 9
    with pytest.raises(BrokenNotesError, match="are not those delivered, gapped and waiting"):
        read(json.dumps(document).encode())


def test_a_notebook_keeps_what_was_written_last(tmp_path):
    async def play():
        folder = tmp_path / "captures"
        book = Notebook(folder)
        assert await book.open() == Notes()
        await book.write(lambda: some_notes("a"))
        await book.write(lambda: some_notes("a", "b"))
        assert (folder / FILE).stat().st_mode & 0o777 == 0o600
        return await Notebook(folder).open(), sorted(path.name for path in folder.iterdir())

    assert asyncio.run(play()) == (some_notes("a", "b"), [FILE])


def test_a_notebook_that_cannot_be_read_begins_anew_and_one_that_cannot_be_written_says_so(
    tmp_path, caplog
):
    async def play():
        (tmp_path / FILE).write_bytes(b'{"version": 1, "produced"')
        assert await Notebook(tmp_path).open() == Notes()
        blocked = Notebook(tmp_path / FILE)
        assert await blocked.open() == Notes()
        await blocked.write(Notes)
        return blocked.problem

    assert FILE in asyncio.run(play())
    assert "occurrences_lost" in caplog.text
    assert "occurrences_not_kept" in caplog.text


def test_kept_events_have_no_more_gap_than_gapped():
    with pytest.raises(ValueError, match="are not those"):
        KeptEvents(produced=1, gapped=1, gap=2)
