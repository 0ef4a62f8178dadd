"""Frames on the pipes between the judge and the process of a student's code: a number, a length, bytes.

The judge's side reads with a deadline and never more than it asked for; the other side just reads and writes.
"""

from __future__ import annotations

import os
import select
import struct
import time

HEAD = struct.Struct("<4sIQ")
MAGIC = b"aFs1"
CHUNK = 1 << 20


class FrameError(Exception):
    """Bytes that are no frame."""


class TooLate(Exception):
    """The deadline passed."""


class Closed(Exception):
    """The other side is gone."""


def send(descriptor: int, number: int, message: bytes) -> None:
    """Write one frame (the student's side)."""
    view = memoryview(HEAD.pack(MAGIC, number, len(message)) + message)
    while view:
        view = view[os.write(descriptor, view) :]


def receive(descriptor: int) -> tuple[int, bytes]:
    """Read one frame (the student's side)."""
    _, number, length = HEAD.unpack(_exactly(descriptor, HEAD.size))
    return number, _exactly(descriptor, length)


def _exactly(descriptor: int, length: int) -> bytes:
    got = bytearray()
    while len(got) < length:
        piece = os.read(descriptor, min(CHUNK, length - len(got)))
        if not piece:
            raise Closed
        got += piece
    return bytes(got)


class Pipe:
    """The judge's ends of the two pipes, which never block longer than the deadline."""

    def __init__(self, reading: int, writing: int) -> None:
        from autograder.wire import MAX_MESSAGE  # here, because it imports torch: see `warm.start_early`

        self.reading, self.writing, self.most = reading, writing, MAX_MESSAGE
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)

    def send(self, number: int, message: bytes, deadline: float) -> None:
        """Write one frame."""
        view = memoryview(HEAD.pack(MAGIC, number, len(message)) + message)
        while view:
            self._wait(self.writing, select.POLLOUT, deadline)
            try:
                view = view[os.write(self.writing, view[:CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise Closed from None

    def receive(self, number: int, deadline: float) -> bytes:
        """Read the frame with this number; anything else is a FrameError."""
        magic, got, length = HEAD.unpack(self._exactly(HEAD.size, deadline))
        if magic != MAGIC or got != number or length > self.most:
            raise FrameError("a reply that nobody asked for")
        return self._exactly(length, deadline)

    def idle(self) -> bool:
        """Whether nothing lies in the pipe that nobody asked for."""
        poll = select.poll()
        poll.register(self.reading, select.POLLIN)
        return not poll.poll(0)

    def _exactly(self, length: int, deadline: float) -> bytes:
        got = bytearray()
        while len(got) < length:
            self._wait(self.reading, select.POLLIN, deadline)
            try:
                piece = os.read(self.reading, min(CHUNK, length - len(got)))
            except BlockingIOError:
                continue
            except OSError:
                raise Closed from None
            if not piece:
                raise Closed
            got += piece
        return bytes(got)

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TooLate

    def close(self) -> None:
        """Close both ends."""
        os.close(self.reading)
        os.close(self.writing)
