"""The faults: each would break a promise (README, "What is promised") in a way that nobody sees."""

from typing import Final

from scripts.mutations.mutation import Mutation

_DURABLE: Final = "1 durable before answered"
_ONCE: Final = "2 exactly once"
_ORDER: Final = "3 every device, in order, no hole"
_MEMORY: Final = "4 slow peers cost no memory"
_HOOKS: Final = "webhooks at least once, in order, and nothing against the word"

_UNREAD: Final = "what is unread is what came after one's place, but for what is quiet"
_REVOKED: Final = "a revoked token is worth nothing"

_STORES: Final = ("tests/storage/test_stores.py", "tests/storage/test_sqlite.py")
_HUB: Final = ("tests/hub",)
_DELIVERIES: Final = ("tests/webhooks/test_deliveries.py",)
_ASKED: Final = ("tests/webhooks/test_asked.py",)
_EXECUTOR: Final = ("tests/service/test_executor.py",)

MUTATIONS: Final = (
    Mutation(
        name="answer before the commit",
        promise=_DURABLE,
        file="server/service/executor.py",
        old="                outcomes = await self._store.commit(self._shard, view.write_sets)\n",
        new="                for job, decision in decided:\n"
        "                    self._answer(job, decision.result, None)\n"
        "                outcomes = await self._store.commit(self._shard, view.write_sets)\n",
        tests=_EXECUTOR,
    ),
    Mutation(
        name="tell before the commit",
        promise=_DURABLE,
        file="server/service/executor.py",
        old="                outcomes = await self._store.commit(self._shard, view.write_sets)\n",
        new="                heads = await self._store.heads(self._shard)\n"
        "                entries = [e for w in view.write_sets for e in w.entries]\n"
        "                told = [\n"
        "                    Committed(e, heads.position + n, 1) for n, e in enumerate(entries, 1)\n"
        "                ]\n"
        "                self._publisher.publish(told, heads.position + len(told))\n"
        "                outcomes = await self._store.commit(self._shard, view.write_sets)\n",
        tests=_EXECUTOR,
    ),
    Mutation(
        name="answer success when the store refused",
        promise=_DURABLE,
        file="server/service/executor.py",
        old="            self._answer_all(jobs, ErrorCode.UNAVAILABLE, str(error))\n",
        new="            for job, decision in decided:\n"
        "                self._answer(job, decision.result, None)\n"
        "            error.add_note('-')\n",
        tests=_EXECUTOR,
    ),
    Mutation(
        name="go on after a commit whose outcome is unknown",
        promise=_DURABLE,
        file="server/service/executor.py",
        old="            self._answer_all(jobs, ErrorCode.OUTCOME_UNKNOWN, None)\n"
        "            self._on_fatal()\n"
        "        except Exception:",
        new="            self._answer_all(jobs, ErrorCode.OUTCOME_UNKNOWN, None)\n"
        "        except Exception:",
        tests=_EXECUTOR,
    ),
    Mutation(
        name="take a failed COMMIT for one that did not happen",
        promise=_DURABLE,
        file="server/storage/sqlite_writer.py",
        old="        if code & 0xFF in _NOT_COMMITTED:\n",
        new="        if code & 0xFF in _NOT_COMMITTED or self._connection:\n",
        tests=("tests/storage", "tests/system/test_failing_disk.py"),
        is_simulated=False,
    ),
    Mutation(
        name="commit without waiting for the disk",
        promise=_DURABLE,
        file="server/storage/database.py",
        old='        connection.execute("PRAGMA synchronous = FULL")\n        connection.execute(f"PRAGMA',
        new='        connection.execute("PRAGMA synchronous = NORMAL")\n'
        '        connection.execute(f"PRAGMA',
        tests=("tests/storage", "tests/system/test_power_cut.py"),
        is_simulated=False,
    ),
    Mutation(
        name="forget the request's id",
        promise=_ONCE,
        file="server/storage/numbering.py",
        old="        if write_set.request is not None:\n            changes.requests[",
        new="        if write_set.request is not None and not write_set.entries:\n"
        "            changes.requests[",
        tests=_STORES,
    ),
    Mutation(
        name="leave the request's id out of the transaction",
        promise=_ONCE,
        file="server/storage/sqlite_writes.py",
        old="    _write_requests(connection, changes)\n",
        new="",
        tests=_STORES,
        is_simulated=False,
    ),
    Mutation(
        name="do two copies of a request that are on their way",
        promise=_ONCE,
        file="server/service/executor.py",
        old="            twin = self._in_flight.get(request)\n",
        new="            twin = None if request else self._in_flight.get(request)\n",
        tests=_EXECUTOR,
    ),
    Mutation(
        name="answer other content with the first reply",
        promise=_ONCE,
        file="server/service/executor.py",
        old="        if stored.digest != job.digest and job.request is not None:\n",
        new="        if stored.digest is None and job.request is not None:\n",
        tests=_EXECUTOR,
    ),
    Mutation(
        name="refuse without looking for the first reply",
        promise=_ONCE,
        file="server/service/batch.py",
        old="is_refusal=True, expect=seen, request=request\n",
        new="is_refusal=True, expect=seen\n",
        tests=_EXECUTOR,
    ),
    Mutation(
        name="refuse on what a repeat before it would have done",
        promise=_ONCE,
        file="server/service/batch.py",
        old="is_refusal=True, expect=seen, request=request\n",
        new="is_refusal=True, request=request\n",
        tests=_EXECUTOR,
    ),
    Mutation(
        name="do what a user sent later before what is decided again",
        promise=_ORDER,
        file="server/storage/numbering.py",
        old="                self._held_back.add(write_set.actor_id)\n",
        new="                pass\n",
        tests=(*_STORES, *_EXECUTOR),
    ),
    Mutation(
        name="decide on rows that have changed since",
        promise=_ONCE,
        file="server/storage/numbering.py",
        old="                if self._version(key) != expected:\n                    return False\n",
        new="                if self._version(key) < expected:\n                    return False\n",
        tests=_STORES,
    ),
    Mutation(
        name="let the client repeat a call under a new id",
        promise=_ONCE,
        file="protocol/client_attempts.py",
        old="                id=request_id,\n",
        new="                id=request_id if not failures else new_request_id(),\n",
        tests=("tests/protocol/test_client_exactly_once.py", "tests/protocol/test_client.py"),
    ),
    Mutation(
        name="answer before the events are told",
        promise=_ORDER,
        file="server/service/executor.py",
        old="        self._publish(decided, outcomes)\n        for",
        new="        asyncio.get_running_loop().call_soon(self._publish, decided, outcomes)\n        for",
        tests=(*_EXECUTOR, *_HUB),
    ),
    Mutation(
        name="read first and subscribe afterwards",
        promise=_ORDER,
        file="server/hub/catch_up.py",
        old="            await self._hub.reached(upto)\n",
        new="            await self._hub.reached(upto)\n            session.start_holding(upto)\n",
        tests=_HUB,
    ),
    Mutation(
        name="let go of what was held at the hand-over",
        promise=_ORDER,
        file="server/hub/catch_up.py",
        old="            for frame in held:\n                session.put(frame)\n",
        new="",
        tests=_HUB,
    ),
    Mutation(
        name="go live while there is another page",
        promise=_ORDER,
        file="server/hub/catch_up.py",
        old="        if held is not None and not has_more and not session.is_paused:\n",
        new="        if held is not None and not session.is_paused:\n",
        tests=_HUB,
    ),
    Mutation(
        name="drop an event when too much is held",
        promise=_ORDER,
        file="server/hub/session.py",
        old="        if self._held_bytes > most_bytes:\n            self.held = None\n",
        new="        if self._held_bytes > most_bytes:\n            return\n",
        tests=_HUB,
    ),
    Mutation(
        name="begin a membership one position late",
        promise=_ORDER,
        file="server/storage/numbering.py",
        old="            joined_position=position,\n            joined_seq=seq_before,",
        new="            joined_position=position + 1,\n            joined_seq=seq_before,",
        tests=_STORES,
    ),
    Mutation(
        name="end a membership one position early",
        promise=_ORDER,
        file="server/storage/numbering.py",
        old="            self._close(MemberKey(entry.group_id, user_id), position)\n",
        new="            self._close(MemberKey(entry.group_id, user_id), position - 1)\n",
        tests=_STORES,
    ),
    Mutation(
        name="let go of those who leave before they are told",
        promise=_ORDER,
        file="server/hub/hub.py",
        old="            self._tell(run)\n            self._let_out(first)\n",
        new="            self._let_out(first)\n            self._tell(run)\n",
        tests=_HUB,
    ),
    Mutation(
        name="tell together what has not the same audience",
        promise=_ORDER,
        file="server/hub/runs.py",
        old="        and not (entry.joined or entry.left or entry.closes)\n",
        new="",
        tests=_HUB,
    ),
    Mutation(
        name="tell those who join only of what comes after it",
        promise=_ORDER,
        file="server/hub/hub.py",
        old="            self._let_in(first)\n            self._tell(run)\n",
        new="            self._tell(run)\n            self._let_in(first)\n",
        tests=_HUB,
    ),
    Mutation(
        name="go on one entry too far after being slow",
        promise=_ORDER,
        file="server/hub/hub.py",
        old="        session.mode = Mode.CATCHING_UP\n        session.position = self.position\n",
        new="        session.mode = Mode.CATCHING_UP\n        session.position = self.position + 1\n",
        tests=_HUB,
    ),
    Mutation(
        name="give who catches up the cursor of who is live",
        promise=_ORDER,
        file="server/hub/hub.py",
        old="        return self.cursor_at(self.position if session.mode is Mode.LIVE else session.position)\n",
        new="        return self.cursor_at(max(self.position, session.position))\n",
        tests=_HUB,
    ),
    Mutation(
        name="resume from before what is kept",
        promise=_ORDER,
        file="server/hub/cursors.py",
        old="    if position < heads.floor:\n",
        new="    if position < 0:\n",
        tests=_HUB,
    ),
    Mutation(
        name="do not note what was trimmed",
        promise=_ORDER,
        file="server/hub/hub.py",
        old="        self._floor = max(self._floor, floor)\n",
        new="        self._floor = min(self._floor, floor)\n",
        tests=(*_HUB, "tests/system/test_promises.py"),
    ),
    Mutation(
        name="send messages to who discards them",
        promise=_ORDER,
        file="server/hub/hub.py",
        old="            if group_id in feed.discards:\n",
        new="            if group_id in ():\n",
        tests=_HUB,
    ),
    Mutation(
        name="take requests before the welcome",
        promise=_ORDER,
        file="server/transport/conversation.py",
        old="        self._early = []\n",
        new="        self._early = None\n",
        tests=_HUB,
    ),
    Mutation(
        name="move the client's cursor before its events",
        promise=_ORDER,
        file="protocol/client_session.py",
        old="        if not self._is_skipping:\n            self.stream.put_events(",
        new="        self.stream.move(frame.cursor)\n        if not self._is_skipping:\n"
        "            self.stream.put_events(",
        tests=("tests/protocol",),
    ),
    Mutation(
        name="go on pushing to who does not read",
        promise=_MEMORY,
        file="server/hub/hub.py",
        old="        if session.mode is not Mode.LIVE:\n            return False\n",
        new="        if session.mode is not Mode.GONE:\n            return False\n",
        tests=_HUB,
    ),
    Mutation(
        name="let all who come back read at once",
        promise=_MEMORY,
        file="server/hub/catch_up.py",
        old="        self._turns = asyncio.Semaphore(_READS_AT_ONCE)\n",
        new="        self._turns = asyncio.Semaphore(1_000_000)\n",
        tests=_HUB,
        is_simulated=False,
    ),
    Mutation(
        name="keep who takes nothing for ever",
        promise=_MEMORY,
        file="server/transport/listener.py",
        old="            elif most_ms and (now_s - connection.paused_since_s) * 1000 >= most_ms:\n",
        new="            elif most_ms < 0 and (now_s - connection.paused_since_s) * 1000 >= most_ms:\n",
        tests=("tests/system/test_bad_input.py",),
    ),
    Mutation(
        name="end a drain before what was taken is answered",
        promise=_DURABLE,
        file="server/node.py",
        old="                    await self.dispatcher.settled()\n",
        new="                    await asyncio.sleep(0)\n",
        tests=("tests/system/test_signals.py", "tests/system/test_promises.py"),
    ),
    Mutation(
        name="let go of what the webhook did not take",
        promise=_HOOKS,
        file="server/webhooks/deliveries.py",
        old="            if again_ms:\n                return again_ms\n",
        new="            if again_ms:\n                self._backlog.drop_first(stream)\n",
        tests=_DELIVERIES,
    ),
    Mutation(
        name="take any answer of the webhook for a good one",
        promise=_HOOKS,
        file="server/webhooks/deliveries.py",
        old="        if 200 <= answer.status < 300:\n",
        new="        if answer.status < 600:\n",
        tests=_DELIVERIES,
    ),
    Mutation(
        name="forget the number of an attempt until it is read again",
        promise=_HOOKS,
        file="server/webhooks/deliveries.py",
        old="        stream.attempts = attempt\n",
        new="",
        tests=_DELIVERIES,
        is_simulated=False,
    ),
    Mutation(
        name="send a message that the operator has dropped",
        promise=_HOOKS,
        file="server/service/approval.py",
        old="        return Approved(command, Wish(is_dropped=True))\n",
        new="        return Approved(command)\n",
        tests=_ASKED,
    ),
    Mutation(
        name="do what is repeated as it was before the word",
        promise=_HOOKS,
        file="server/service/approval.py",
        old="            return Approved(question.command, _REPEAT)\n",
        new="            return Approved(question.command)\n",
        tests=_ASKED,
        is_simulated=False,
    ),
    Mutation(
        name="count the operator's quiet messages as unread",
        promise=_UNREAD,
        file="server/storage/numbering.py",
        old="            head.quiet += 1\n",
        new="            head.quiet += 0\n",
        tests=("tests/machines/test_unread.py",),
        is_simulated=False,
    ),
    Mutation(
        name="read on past the end of the log because of a repeat",
        promise=_UNREAD,
        file="server/storage/numbering.py",
        old="        return min(moved.seq, head.seq), min(moved.quiet, head.quiet)\n",
        new="        return moved.seq, moved.quiet\n",
        tests=("tests/machines/test_unread.py",),
        is_simulated=False,
    ),
    Mutation(
        name="take a token of the second in which the user was kicked",
        promise=_REVOKED,
        file="server/service/credentials.py",
        old="issued_s <= up_to_s",
        new="issued_s < up_to_s",
        tests=("tests/service/test_credentials.py",),
        is_simulated=False,
    ),
)
