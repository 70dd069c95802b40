"""Just enough of ELF (elf(5), 64 bit, little endian) to say what a program needs in order to start."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"\x7fELF\x02\x01\x01"
EXECUTABLE, SHARED = 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 1, 2, 3, 0x6474E551
PF_X = 1


@dataclass(frozen=True)
class Segment:
    """A program header: its type (PT_...) and flags (PF_...)."""

    type: int
    flags: int


@dataclass(frozen=True)
class Program:
    """type: EXECUTABLE or SHARED (also a position-independent executable). size: bytes up to the end of its last segment or table."""

    type: int
    machine: int
    segments: tuple[Segment, ...]
    size: int

    def has(self, segment_type: int) -> bool:
        return any(segment.type == segment_type for segment in self.segments)


def parse(data: bytes) -> Program:
    """The program that data begins with. Raises ValueError for anything else."""
    if not data.startswith(MAGIC):
        raise ValueError("not a 64-bit little-endian ELF file")
    kind, machine = struct.unpack_from("<HH", data, 16)
    program_headers, section_headers = struct.unpack_from("<QQ", data, 32)
    size, count, section_size, section_count = struct.unpack_from("<HHHH", data, 54)
    segments, end = [], section_headers + section_size * section_count
    for index in range(count):
        fields = struct.unpack_from("<IIQQQQQQ", data, program_headers + index * size)
        segments.append(Segment(fields[0], fields[1]))
        end = max(end, fields[2] + fields[5])
    return Program(kind, machine, tuple(segments), end)


def embedded(data: bytes) -> list[Program]:
    """Programs that lie inside another file, which is itself an ELF file."""
    found = []
    position = data.find(MAGIC, 1)
    while position >= 0:
        try:
            program = parse(data[position:])
        except struct.error:
            program = None  # the magic number as a constant of some code
        if program is not None and program.type in (EXECUTABLE, SHARED) and program.has(PT_LOAD):
            found.append(program)
        position = data.find(MAGIC, position + 1)
    return found
