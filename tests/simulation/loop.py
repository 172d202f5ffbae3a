"""An event loop on virtual time, in one thread, that can stop a process between any two steps.

Time passes only when nothing is ready. What would run on a thread runs on the loop, after a delay
that the seed decides. Every callback belongs to a `Life` (or to the simulation itself); those of a
life that is over are never called again, as after kill -9: no clean-up of it runs either.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from asyncio import events
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_STEPS_MAX = 2_000_000
"""Callbacks of one history; beyond it something turns in circles."""
_SECONDS_MAX = 1_500
"""Of virtual time: several times what the longest story and its healing take."""
_WAITS_MAX = 100
"""Of one coroutine, after it was told to end."""


class Life:
    """One process, from its start to its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_over = False
        self.is_undone = False
        """It has ended, and something that was in its file then is not there any more."""
        self.is_asleep = False
        """Its machine is suspended: what would run now runs when it wakes."""
        self.held: list[events.Handle] = []
        self.steps = 0
        self.ends_at: int | None = None
        """The number of steps after which `on_end` is called."""
        self.on_end: Callable[[], None] = lambda: None
        self.tasks: list[asyncio.Task[Any]] = []


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class Stuck(Exception):
    """Nothing is ready, nothing is scheduled, and somebody still waits."""


class _NoSelector:
    """What a loop without sockets waits with: instead of waiting, time is moved."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        raise AssertionError("the virtual loop waits for no sockets")


class VirtualLoop(asyncio.BaseEventLoop):
    """`delays` decides how long what runs beside the loop takes."""

    def __init__(self, seed: int | str) -> None:
        super().__init__()
        self._now = 0.0
        self._steps = 0
        self._delays = random.Random(f"delays-{seed}")
        self._queues: dict[Executor, float] = {}
        self._timers: list[tuple[float, int, events.TimerHandle]] = []
        """A heap, of one's time and how many were made before it."""
        self._made = 0
        self.slowness = 0.001
        """About what a hop to what runs beside the loop takes, in seconds."""
        self.seconds_max = _SECONDS_MAX
        self.faults: list[dict[str, Any]] = []
        """What the exception handler was told of lives that are not over."""
        self.set_exception_handler(self._note_fault)
        self.set_task_factory(_make_task)

    # ---- time ---------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def delay(self) -> float:
        """A seeded span: mostly short, sometimes long."""
        draw = self._delays.random()
        return self.slowness * (draw if draw < 0.95 else 40 * (draw - 0.9))

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> events.TimerHandle:
        timer = events.TimerHandle(when, callback, args, self, context)
        self._made += 1
        # Tuples compare much faster than handles.
        heapq.heappush(self._timers, (when, self._made, timer))
        return timer

    def close(self) -> None:
        super().close()
        self._timers.clear()

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        timers = self._timers
        if not ready:
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                raise Stuck("nothing is left to happen")
            self._now = now = max(self._now, timers[0][0])
            while timers and timers[0][0] <= now:
                handle = heapq.heappop(timers)[2]
                if not handle._cancelled:
                    ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            life = handle._context.get(LIFE)
            if life is None:
                handle._run()
            elif life.is_asleep:
                life.held.append(handle)
            elif not life.is_over:
                handle._run()
                life.steps += 1
                if life.steps == life.ends_at:
                    life.on_end()
            self._steps += 1
        if self._steps > _STEPS_MAX or self._now > self.seconds_max:
            raise Stuck(f"no end after {self._steps} steps and {self._now:.0f} s of virtual time")

    def wake(self, life: Life) -> None:
        life.is_asleep = False
        held, life.held = life.held, []
        self._ready.extend(held)  # type: ignore[attr-defined]

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> events.Handle:
        return self.call_soon(callback, *args, context=context)

    # ---- what would run on threads ------------------------------------------------------------

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Calls `func` on the loop, a moment later, and answers a moment after that. What one
        executor is given is called in order."""
        future: asyncio.Future[T] = self.create_future()
        at = self._now + self.delay()
        if executor is not None:
            # Strictly later than the one before: a heap keeps no order among equals.
            at = max(at, self._queues.get(executor, 0.0) + 1e-7)
            self._queues[executor] = at

        def work() -> None:
            if future.cancelled():
                return
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                self.call_later(self.delay(), _fail, future, error)
            else:
                self.call_later(self.delay(), _succeed, future, result)

        self.call_at(at, work)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """There is none."""

    # ---- what BaseEventLoop wants -------------------------------------------------------------

    def _process_events(self, event_list: list[object]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        pass

    def _note_fault(self, _: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        life = LIFE.get()
        task = about.get("task") or about.get("future")
        if isinstance(task, asyncio.Task):
            life = task.get_context().get(LIFE) if hasattr(task, "get_context") else life
        if life is None or not life.is_over:
            self.faults.append(about)


class AtOnce(Executor):
    """Stands in for a pool of one thread. What is handed over by way of the loop it never sees."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(function(*arguments, **named))
        return future


class VirtualLane:
    """Where a store's commits run: on the loop, in order, each after a delay, and each answered
    after another. A life that ends in between leaves a commit without its answer."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self._runs_until = 0.0
        self._answers_until = 0.0
        self._left = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def run(self, work: Callable[[], None], /) -> None:
        self._left += 1
        self._idle.clear()
        self._runs_until = max(self._loop.time() + self._loop.delay(), self._runs_until + 1e-7)
        self._loop.call_at(self._runs_until, self._run, work)

    def _run(self, work: Callable[[], None]) -> None:
        work()
        self._left -= 1
        if not self._left:
            # Behind the answers, as with a thread that is joined.
            self.answer(self._settle)

    def _settle(self) -> None:
        if not self._left:
            self._idle.set()

    def answer(self, deliver: Callable[[*Ts], None], /, *arguments: *Ts) -> None:
        at = max(self._loop.time() + self._loop.delay(), self._answers_until + 1e-7)
        self._answers_until = at
        self._loop.call_at(at, deliver, *arguments)

    async def end(self) -> None:
        await self._idle.wait()


def in_life(life: Life, start: Callable[[], T]) -> T:
    """What `start` returns when it is called as part of `life`."""

    def begin() -> T:
        LIFE.set(life)
        return start()

    return copy_context().run(begin)


def close_coroutine(coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any]) -> None:
    """End what nobody will go on with. On its way out it may want to wait, which is refused each
    time; left at such a wait it would complain when it is collected."""
    for _ in range(_WAITS_MAX):
        with suppress(RuntimeError):
            coroutine.close()
            return


def _make_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    **options: Any,
) -> asyncio.Task[T]:
    task = asyncio.Task(coroutine, loop=loop, **options)
    life = LIFE.get()
    if life is not None:
        life.tasks.append(task)
    return task


def _succeed(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
