# SPDX-License-Identifier: Apache-2.0
"""Write the generated stubs below src/fodc_wire, or with --check say whether they are up to date.

The .proto files keep their own package paths, so that the wire names stay what
peers expect; only the Python modules move below `fodc_wire`.
"""

import filecmp
import re
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
TARGET = HERE / "src" / "fodc_wire"
SOURCES = sorted(p.relative_to(HERE).as_posix() for p in HERE.glob("*/**/*.proto"))
OURS = re.compile(r"^(from|import) (banyandb|fodc)\b", re.MULTILINE)
OURS_PYI = re.compile(r"^(from) (banyandb|fodc)\b", re.MULTILINE)
HEADER = "# SPDX-License-Identifier: Apache-2.0\n"


def generate(out: Path) -> None:
    """Run protoc into `out` and move our packages below fodc_wire."""
    include = str(resources.files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{HERE}", f"-I{include}", f"--python_out={out}", f"--pyi_out={out}"]
    if protoc.main([*arguments, *SOURCES]) != 0:
        raise SystemExit("protoc failed, see above")
    for path in (*out.rglob("*.py"), *out.rglob("*.pyi")):
        text = OURS.sub(r"\1 fodc_wire.\2", path.read_text())
        path.write_text(HEADER + text)
    for folder in {p.parent for p in out.rglob("*.py")} | {p for p in out.rglob("*") if p.is_dir()}:
        if folder != out:
            (folder / "__init__.py").write_text(HEADER)


def differences(fresh: Path) -> list[str]:
    """Name every generated file that is missing, stale or left over."""
    made = {p.relative_to(fresh) for p in fresh.rglob("*.py*")}
    kept = {p.relative_to(TARGET) for p in TARGET.rglob("*.py*") if "__pycache__" not in p.parts}
    kept -= {Path("__init__.py"), Path("py.typed")}
    stale = {p for p in made & kept if not filecmp.cmp(fresh / p, TARGET / p, shallow=False)}
    return sorted(str(p) for p in (made ^ kept) | stale)


def main() -> int:
    """Generate, or compare when --check is given."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        changed = differences(fresh)
        if "--check" in sys.argv:
            for name in changed:
                sys.stderr.write(
                    f"fodc_wire/{name} is not what the .proto files give: run `make proto`\n"
                )
            return 1 if changed else 0
        for path in sorted(fresh.rglob("*.py*")):
            target = TARGET / path.relative_to(fresh)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
