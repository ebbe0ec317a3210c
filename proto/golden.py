# SPDX-License-Identifier: Apache-2.0
"""Write proto/golden: for each message of the contract its bytes in hex and a readable twin.

Every field of every message is set, so that a number or a type that moves changes a golden.
Existing files are only replaced when asked with --rewrite: a changed golden is a changed
contract, and belongs in a review.
"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden"
DEPTH = 3


def messages() -> Iterator[Descriptor]:
    """Every message of our .proto files, nested ones included, map entries apart."""
    for path in sorted(HERE.glob("*/**/*.proto")):
        module = path.relative_to(HERE).with_suffix("").as_posix().replace("/", ".")
        file = importlib.import_module(f"fodc_wire.{module}_pb2").DESCRIPTOR
        for message in file.message_types_by_name.values():
            yield from _with_nested(message)


def _with_nested(message: Descriptor) -> Iterator[Descriptor]:
    if message.GetOptions().map_entry:
        return
    yield message
    for nested in message.nested_types:
        yield from _with_nested(nested)


def example(message: Descriptor, depth: int = DEPTH) -> Message:
    """A message with every field set to a value that tells the field."""
    made = GetMessageClass(message)()
    for field in message.fields:
        _fill(made, field, depth)
    return made


def examples(message: Descriptor) -> Iterator[tuple[str, Message]]:
    """One example, or one per branch where the whole message is a oneof."""
    branches = [f for oneof in message.oneofs for f in oneof.fields]
    if not branches:
        yield message.full_name, example(message)
    for field in branches:
        made = GetMessageClass(message)()
        _fill(made, field, DEPTH)
        yield f"{message.full_name}.{field.name}", made


def _fill(made: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(made, field, depth)
    elif field.message_type is not None:
        _fill_message(made, field, depth)
    elif field.is_repeated:
        getattr(made, field.name).extend([_scalar(field, 0), _scalar(field, 1)])
    else:
        setattr(made, field.name, _scalar(field, 0))


def _fill_map(made: Message, field: FieldDescriptor, depth: int) -> None:
    entries = getattr(made, field.name)
    inner = field.message_type.fields_by_name["value"].message_type
    if inner is None:
        entries[f"{field.name}-key"] = f"{field.name}-value"
    else:
        entries[f"{field.name}-key"].CopyFrom(example(inner, depth - 1))


def _fill_message(made: Message, field: FieldDescriptor, depth: int) -> None:
    if depth == 0:
        return
    inner = example(field.message_type, depth - 1)
    if field.is_repeated:
        getattr(made, field.name).append(inner)
    else:
        getattr(made, field.name).CopyFrom(inner)


def _scalar(field: FieldDescriptor, offset: int) -> str | bytes | bool | int | float:
    number = field.number * 10 + offset + 1
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return f"{field.name}-{offset}\x00\n".encode()
        case FieldDescriptor.CPPTYPE_STRING:
            return f"{field.name}-{offset}"
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_ENUM:
            return field.enum_type.values[-1].number
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return number + 0.5
        case _:
            return number


def readable(message: Message) -> str:
    """The twin for people."""
    return text_format.MessageToString(message)


def main() -> int:
    """Write what is missing; with --rewrite everything."""
    GOLDEN.mkdir(exist_ok=True)
    for descriptor in messages():
        for name, message in examples(descriptor):
            path = GOLDEN / f"{name}.hex"
            if path.exists() and "--rewrite" not in sys.argv:
                continue
            path.write_text(message.SerializeToString(deterministic=True).hex() + "\n")
            path.with_name(f"{name}.txtpb").write_text(readable(message))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
