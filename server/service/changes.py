"""The way of a changing command to the executor: past the operator's own service, if it is asked."""

import asyncio
import logging
from collections.abc import Sequence

from protocol.commands import ChangingCommand
from protocol.errors import ErrorCode, Refused
from server.domain.wishes import Wish
from server.service.approval import Approval, Approved, Question
from server.service.executor import Answer, Executor
from server.service.turns import Turns

log = logging.getLogger(__name__)


class Changes:
    """Hands changes on, each to be answered once.

    Args:
        approval: who is asked before a change; None for nobody, which costs nothing.
    """

    def __init__(self, executor: Executor, approval: Approval | None = None) -> None:
        self._executor = executor
        self._approval = approval
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def waits(self) -> bool:
        """Whether somebody may be asked, so that changes have to stand in line."""
        return self._approval is not None

    def submit(self, question: Question, answer: Answer, turns: Turns | None = None) -> None:
        """Have it executed, after what stands before it in the line ``turns``.

        Now, if nobody has to be asked and nothing before it waits. ``answer`` as the executor's.
        """
        approval = self._approval
        if approval is None:
            self._hand_on(question, question.command, None, answer)
            return
        before = turns.before(question.command) if turns is not None else ()
        is_asked = approval.concerns(question)
        if not before and not is_asked:
            self._hand_on(question, question.command, None, answer)
            return
        leave = turns.take(question.command) if turns is not None else None
        # Asked at once: several may be asked about at the same time, and take effect in order.
        word = asyncio.ensure_future(approval.word_on(question)) if is_asked else None
        task = asyncio.ensure_future(self._in_turn(approval, question, before, word, answer))

        def over(_task: "asyncio.Task[None]") -> None:
            self._asking.discard(task)
            if leave is not None:
                leave()

        self._asking.add(task)
        task.add_done_callback(over)

    async def settled(self) -> None:
        """Return once everything that was submitted is answered."""
        while self._asking:
            await asyncio.wait(set(self._asking))
        await self._executor.settled()

    async def stop(self) -> None:
        """Wait for nobody's word any more; what waited for one is not done."""
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _in_turn(
        self,
        approval: Approval,
        question: Question,
        before: Sequence["asyncio.Future[None]"],
        word: "asyncio.Task[Approved] | None",
        answer: Answer,
    ) -> None:
        try:
            if before:
                await asyncio.wait(before)
            approved = Approved(question.command) if word is None else await word
        except Refused as refusal:
            answer(None, refusal)
        except Exception:
            log.exception("asking about %s failed", type(question.command).__name__)
            answer(None, Refused(ErrorCode.INTERNAL))
        else:
            self._hand_on(question, approved.command, approved.wish, answer)
        finally:
            if word is not None:
                word.cancel()
            approval.forget(question.request)

    def _hand_on(
        self, question: Question, command: ChangingCommand, wish: Wish | None, answer: Answer
    ) -> None:
        self._executor.submit(
            command,
            question.actor,
            question.request,
            question.digest,
            answer,
            question.origin,
            wish,
        )
