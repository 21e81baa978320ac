"""Calls of two published clients of the hosted original; run with the packages of restcheck.

    python clients.py ADMIN_ADDRESS KEY

Exit status: 0 when every call was answered with ErrorCode 0.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tencentcloud_im import tcim_client as tcim
from timsdk import TimClient
from timsdk.http_client import HttpClient

SDKAPPID = 1400000000
ADMIN = "administrator"

Calls = Sequence[tuple[str, Callable[[], Any]]]


def of_tencentcloud_im(address: str, key: str) -> Calls:
    """``tencentcloud-sdk-python-im`` in a group of its own."""
    client = tcim.TCIMClient(SDKAPPID, key, ADMIN, f"{address}/v4")
    member = tcim.GroupMemObj
    group = tcim.GroupObj("alice", "Public", "Tea", mem_list=[member("cat")], group_id="tcim")
    said = {
        "from_account": "alice",
        "msgPriority": "High",
        "messageText": [tcim.MessageText("hi")],
        "attchements": [tcim.MessageFile("u", 1, "n")],
    }
    imported = [member("eve", "Admin", int(time.time()), 3)]
    return [
        ("account_import", lambda: client.add_single_user("bob", "Bob", "http://x")),
        ("multiaccount_import", lambda: client.batch_add_users(["bob", "cat"])),
        ("account_check", lambda: client.search_user(["bob"])),
        ("query_online_status", lambda: client.check_user_online(["bob"])),
        ("create_group", lambda: client.create_group(group)),
        ("get_appid_group_list", client.get_group),
        ("get_group_info", lambda: client.get_group_detail(["tcim"])),
        ("get_group_member_info", lambda: client.get_group_mem_info_detail("tcim")),
        (
            "modify_group_base_info",
            lambda: client.update_group_baseinfo("tcim", "Tea2", shutUpFlag="Off"),
        ),
        ("add_group_member", lambda: client.add_group_member("tcim", [member("dan")])),
        ("delete_group_member", lambda: client.delete_group_mem("tcim", ["dan"])),
        (
            "modify_group_member_info",
            lambda: client.update_group_mem_info("tcim", "cat", "Member", "Cat", shutUpTime=60),
        ),
        ("get_joined_group_list", lambda: client.get_joined_groups("alice")),
        ("get_role_in_group", lambda: client.get_mem_role_in_group("tcim", ["alice", "zoe"])),
        ("forbid_send_msg", lambda: client.forbid_send_msg("tcim", ["cat"], 60)),
        ("get_group_shutted_uin", lambda: client.get_group_shutup_list("tcim")),
        ("send_group_msg", lambda: client.send_group_message("tcim", **said)),
        (
            "send_group_system_notification",
            lambda: client.send_system_message_in_group("tcim", "hello", ["cat"]),
        ),
        ("change_group_owner", lambda: client.change_group_owner("tcim", "cat")),
        ("import_group_member", lambda: client.import_group_members("tcim", imported)),
        ("set_unread_msg_num", lambda: client.set_group_unread_msg_num("tcim", "cat", 3)),
        ("delete_group_msg_by_sender", lambda: client.delete_group_msg_by_sender("tcim", "alice")),
        ("group_msg_get_simple", lambda: client.get_msg_in_group("tcim", 5)),
        ("get_online_member_num", lambda: client.get_online_member_num("tcim")),
        ("modify_group_attr", lambda: client.update_group_attr("tcim", [tcim.GroupAttr("a", "b")])),
        ("get_group_attr", lambda: client.get_group_attr("tcim")),
        ("clear_group_attr", lambda: client.clean_group_attr("tcim")),
        ("kick", lambda: client.abolition_user_sig("bob")),
        ("destroy_group", lambda: client.delete_group("tcim")),
        ("account_delete", lambda: client.del_user(["bob"])),
    ]


def of_timsdk(address: str, key: str) -> Calls:
    """``timsdk``, which knows the original's address only, in groups of its own."""
    original = HttpClient.get_url

    def get_url(self: HttpClient, path: str, random_id: int = 5) -> str:
        url: str = original(self, path, random_id)
        return url.replace("https://console.tim.qq.com", address)

    HttpClient.get_url = get_url
    svc = TimClient(SDKAPPID, key).group_open_http_svc
    group_id = svc.create_group("Tea", "alice", [{"Member_Account": "bob"}])["GroupId"]
    body = [{"MsgType": "TIMTextElem", "MsgContent": {"Text": "x"}}]
    said = [{"From_Account": "a", "SendTime": 1448357838, "MsgBody": body}]
    return [
        ("get_appid_group_list", svc.get_app_id_group_list),
        ("get_group_info", lambda: svc.get_group_info([group_id])),
        ("get_group_member_info", lambda: svc.get_group_member_info(group_id)),
        (
            "modify_group_base_info",
            lambda: svc.modify_group_base_info(group_id, name="x", shut_up_all_member="On"),
        ),
        ("add_group_member", lambda: svc.add_group_member(group_id, [{"Member_Account": "cat"}])),
        (
            "modify_group_member_info",
            lambda: svc.modify_group_member_info(group_id, "cat", role="Admin"),
        ),
        ("get_joined_group_list", lambda: svc.get_joined_group_list("alice")),
        ("get_role_in_group", lambda: svc.get_role_in_group(group_id, ["alice"])),
        ("forbid_send_msg", lambda: svc.forbid_send_msg(group_id, ["cat"], 5)),
        ("get_group_shutted_uin", lambda: svc.get_group_shut_uin(group_id)),
        ("send_group_msg", lambda: svc.send_group_msg(group_id, body)),
        (
            "send_group_system_notification",
            lambda: svc.send_group_system_notification(group_id, "x"),
        ),
        ("group_msg_recall", lambda: svc.group_msg_recall(group_id, [{"MsgSeq": 1}])),
        ("change_group_owner", lambda: svc.change_group_owner(group_id, "cat")),
        (
            "import_group",
            lambda: svc.import_group("Old", "alice", group_id="timsdk", create_time=1448357837),
        ),
        ("import_group_msg", lambda: svc.import_group_msg("timsdk", said)),
        (
            "import_group_member",
            lambda: svc.import_group_member("timsdk", [{"Member_Account": "cat"}]),
        ),
        ("set_unread_msg_num", lambda: svc.set_unread_msg_num("timsdk", "cat", 1)),
        ("delete_group_msg_by_sender", lambda: svc.delete_group_msg_by_sender("timsdk", "a")),
        ("group_msg_get_simple", lambda: svc.group_msg_get_simple("timsdk", 3)),
        ("delete_group_member", lambda: svc.delete_group_member(group_id, ["bob"])),
        ("destroy_group", lambda: svc.destroy_group(group_id)),
    ]


def answer_of(call: Callable[[], Any]) -> dict[str, Any]:
    """What the server answered, as the client gives it: a response or its content."""
    answer = call()
    if not isinstance(answer, dict):
        answer = answer.json()
    found: dict[str, Any] = answer
    return found


def main() -> int:
    address, key = sys.argv[1:]
    failed = 0
    for name, calls in (
        ("tencentcloud-sdk-python-im", of_tencentcloud_im(address, key)),
        ("timsdk", of_timsdk(address, key)),
    ):
        count = 0
        for command, call in calls:
            answer = answer_of(call)
            count += 1
            if answer["ErrorCode"]:
                failed += 1
                sys.stderr.write(f"{name}: {command}: {answer}\n")
        sys.stdout.write(f"{name}: {count} calls\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
