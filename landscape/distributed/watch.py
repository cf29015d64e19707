"""The end of one of several processes becomes the end of all, within seconds and in one sentence.

Every process counts its beats in the store that torchrun keeps, and a thread of each looks after the next process. It
ends this one where its main thread cannot, as it waits for what will never come.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from landscape.errors import OtherProcess

# Seconds between two beats. One that is silent for so many of them is gone where an operation has failed, or torchrun
# has asked this process to end; and where nothing else tells, after so many more.
BEAT = 0.5
GONE, SILENT = 5, 120
# Beats in one and the same operation, until those who wait are asked whether it is the same in all.
STUCK = 20
# Seconds in which the main thread may end by itself, and another process may say what it knows better.
GRACE, PATIENCE = 5.0, 2.0
REACHED = timedelta(seconds=10)
# Beats of one that has left in good order.
LEFT = 2**40
ALONE = "this is a fault of ours, which one process alone does not meet"
# What the store raises where it is gone itself.
LOST = (RuntimeError, OSError)


class Watch:
    """What process ``rank`` of ``size`` tells the others, and knows of them, through the store.

    ``ending`` is why this process must end, None as long as it need not.
    """

    def __init__(self, store: Any, rank: int, size: int, again: str):
        self._store, self.rank, self.size, self._again = store, rank, size, again
        self.ending: OtherProcess | None = None
        self.doing: tuple[int, str] | None = None
        self.count = 0
        self._has_left = threading.Event()
        self._bell, self._ringer = socket.socketpair()
        self._signals: tuple[Any, int] | None = None
        self._threads: list[threading.Thread] = []

    @classmethod
    def reached(cls, number: int, rank: int, size: int, again: str = "") -> Watch | None:
        """A watch for the ``number``-th time they join, not yet begun; None where there is no store."""
        from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

        host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
        if host is None or port is None:
            return None
        try:
            store = TCPStore(host, int(port), is_master=False, timeout=REACHED)
        except LOST:
            return None
        # Processes that torchrun has started again know nothing of those before.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return cls(PrefixStore(f"landscape/{attempt}/{number}", store), rank, size, again)

    @classmethod
    def joined(cls, number: int, rank: int, size: int, again: str) -> Watch | None:
        """A watch that beats, and looks after the next process, until it is left."""
        watch = cls.reached(number, rank, size, again)
        if watch is not None:
            watch._listen()
            watch._begin(watch._look)
            # A thread that is in the store while Python ends would abort it.
            atexit.register(watch.leave)
        return watch

    @contextmanager
    def during(self, operation: str) -> Iterator[None]:
        """Inside, this process waits for the others, that they come to the same operation."""
        self.count += 1
        self.doing = self.count, operation
        try:
            yield
        finally:
            self.doing = None

    def leave(self) -> None:
        """In good order: from now on nobody misses this process."""
        if self._has_left.is_set():
            return
        atexit.unregister(self.leave)
        self._has_left.set()
        self._ringer.send(b"\0")
        for thread in self._threads:
            thread.join(GRACE)
        with suppress(*LOST):
            self._store.add(f"beats {self.rank}", LEFT)
        if self._signals is not None:
            handler, descriptor = self._signals
            signal.signal(signal.SIGTERM, handler)
            signal.set_wakeup_fd(descriptor)
        self._bell.close()
        self._ringer.close()

    def tell(self, sentence: str, exit_code: int) -> dict[str, Any]:
        """Why this process ends, for the others; what was told first, by this one or another."""
        mine = {"by": self.rank, "sentence": sentence, "code": exit_code}
        try:
            return json.loads(self._store.compare_set("ending", "", json.dumps(mine)))
        except LOST:
            return mine

    def is_first_to_say(self, sentence: str, exit_code: int) -> bool:
        """Whether this process is to say why all end: the one that told first, another where that one keeps silent."""
        if self.tell(sentence, exit_code)["by"] != self.rank:
            self._wait(PATIENCE, lambda: self._store.check(["said"]))
        try:
            is_first = self._store.add("said", 1) == 1
        except LOST:
            is_first = True
        if is_first:
            _report_to_torchrun(sentence)
        return is_first

    def cause(self) -> OtherProcess | None:
        """Why others have ended: what they told, or which of them are gone; None where all of them are there."""
        try:
            before, gone = self._beats(), list[int]()
            told = self._wait(GONE * BEAT, lambda: self._store.check(["ending"]))
            if not told:
                after = self._beats()
                gone = [number for number, beats in after.items() if beats == before[number]]
                left = [number for number in gone if after[number] >= LEFT]
                if left:
                    seen = f"process {left[0]} of {self.size} has finished, and process {self.rank} has not"
                    self.tell(f"{seen}; {ALONE}.", 1)
                elif gone:
                    self.tell(self._lost(gone), 1)
                elif not self._store.check(["ending"]):
                    return None
            record = json.loads(self._store.get("ending"))
        except LOST:
            record = {"sentence": self._lost([]), "code": 1}
        self.ending = self.ending or OtherProcess(record["sentence"], record["code"])
        return self.ending

    def _lost(self, gone: list[int]) -> str:
        named = ", ".join(map(str, gone))
        seen = {
            0: f"the launcher of the {self.size} processes is gone",
            1: f"process {named} of {self.size} is gone",
        }.get(len(gone), f"processes {named} of {self.size} are gone")
        remedy = f"go on with: {self._again}" if self._again else "the same call goes on"
        return f"{seen}; {remedy}"

    def _beats(self) -> dict[int, int]:
        """The count of every other process."""
        return {
            number: self._store.add(f"beats {number}", 0)
            for number in range(self.size)
            if number != self.rank
        }

    def _wait(self, seconds: float, is_there: Any) -> bool:
        end = time.monotonic() + seconds
        with suppress(*LOST):
            while not (found := is_there()) and time.monotonic() < end:
                time.sleep(BEAT / 5)
            return bool(found)
        return False

    def _listen(self) -> None:
        """torchrun's request to end is answered with the reason: it asks as soon as one of its processes is gone."""
        self._ringer.setblocking(False)
        with suppress(ValueError):  # in a thread, which hears no signals
            handler = signal.signal(signal.SIGTERM, lambda *_: None)
            self._signals = handler, signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="watch", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _look(self) -> None:
        following, last, silent = (self.rank + 1) % self.size, -1, 0
        doing, waited = self.doing, 0
        while not self._has_left.is_set():
            rung, _, _ = select.select([self._bell], [], [], BEAT)
            is_asked = bool(rung) and signal.SIGTERM in self._bell.recv(64)
            try:
                self._store.add(f"beats {self.rank}", 1)
                beats = self._store.add(f"beats {following}", 0)
                silent, last = (silent + 1 if beats == last and beats < LEFT else 0), beats
                before, doing = doing, self.doing
                if waited >= STUCK and doing != before:
                    self._store.set(f"doing {self.rank}", "null")
                waited = waited + 1 if doing and doing == before else 0
                if doing and waited >= STUCK:
                    self._compare(doing)
                is_told = self._store.check(["ending"])
            except LOST:
                is_told = True
            # Counted in looks, not by the clock, so that all may be suspended together.
            if self.ending or is_told or is_asked or (silent >= SILENT and self.size > 1):
                break
        if self._has_left.is_set():
            return
        self._begin(self._beat_on)
        ending = self.cause() or OtherProcess("ended from outside (SIGTERM)", 130)
        self.ending = ending
        if self._has_left.wait(GRACE):
            return
        sentence = str(ending)
        if self.is_first_to_say(sentence, ending.exit_code):
            os.write(2, f"Error: {sentence}\n".encode())
        os._exit(ending.exit_code)

    def _compare(self, doing: tuple[int, str]) -> None:
        """Where another waits in another operation, or has left, this would be for ever."""
        self._store.set(f"doing {self.rank}", json.dumps(doing))
        for number, beats in self._beats().items():
            is_known = self._store.check([f"doing {number}"])
            theirs: Any = json.loads(self._store.get(f"doing {number}")) if is_known else None
            if beats >= LEFT or (theirs and tuple(theirs) != doing):
                at = "has finished" if beats >= LEFT else f"waits for {theirs[1]}"
                seen = f"process {number} of {self.size} {at} where process {self.rank} waits for {doing[1]}"
                self.tell(f"{seen}; {ALONE}.", 1)

    def _beat_on(self) -> None:
        """While this process looks for the reason, and on its way out, it is not taken for one that is gone."""
        with suppress(*LOST):
            while not self._has_left.wait(BEAT):
                self._store.add(f"beats {self.rank}", 1)


def _report_to_torchrun(sentence: str) -> None:
    """So that the last lines of torchrun name the reason too, and the process that had it."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        about = {
            "message": sentence,
            "extraInfo": {"timestamp": str(int(time.time())), "py_callstack": sentence},
        }
        with suppress(OSError), open(path, "w") as file:
            json.dump({"message": about}, file)
