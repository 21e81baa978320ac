"""What goes wrong in a history, by name; each is a function of the scene."""

from collections.abc import Callable, Mapping
from typing import Final

from tests.simulation.faulty_store import WRITING, StoreFault
from tests.simulation.scene import Scene


def _cut(scene: Scene) -> None:
    links = scene.network.open_links()
    if links:
        link = scene.random.choice(links)
        after_s = [0.0, 0.0, 0.2, 5.0]
        link.cut(scene.random.choice(after_s), scene.random.choice(after_s))
        scene.trace.quiet("cut", link.number)


def _cut_all(scene: Scene) -> None:
    for link in scene.network.open_links():
        link.cut(0.0, 0.0)


def _half_open(scene: Scene) -> None:
    links = scene.network.open_links()
    if links:
        link = scene.random.choice(links)
        which = scene.random.choice(["client", "server", "both"])
        link.client.is_silent |= which != "server"  # what is silent stays so
        link.server.is_silent |= which != "client"
        scene.trace.quiet("half-open", link.number, which)


def _stall(scene: Scene) -> None:
    links = scene.network.open_links()
    if links:
        link = scene.random.choice(links)
        link.client.is_stalled = True
        for_s = scene.random.choice([0.3, 2.0, 12.0, 40.0])
        link.client.call_later(for_s, link.client.unstall)
        scene.trace.quiet("stall", link.number, for_s)


def _hang(scene: Scene) -> None:
    scene.network.is_hanging = True

    def go_on() -> None:
        scene.network.is_hanging = False

    scene.loop.call_later(scene.random.choice([0.5, 15.0]), go_on)


def _store_fault(scene: Scene) -> None:
    fault = scene.random.choice(list(StoreFault))
    names = ["commit", "commit", "commit", *WRITING]
    if scene.service is not None:
        names += ["settle", "settle"]
    if fault not in (StoreFault.UNKNOWN_APPLIED, StoreFault.UNKNOWN_LOST):
        names += ["missed", "followed", "replay", "load", "missed_count"]
        if scene.service is not None:
            names += ["waiting", "outgoing"]
    name = scene.random.choice(names)
    scene.trace.quiet("sends", fault.value, name)
    scene.weather.send(name, fault)


def _slow_store(scene: Scene) -> None:
    scene.weather.delay_s = scene.random.choice([0.0, 0.05, 0.5, 3.0])
    scene.weather.slow_part = scene.random.choice([0.3, 1.0])


def _crash(scene: Scene) -> None:
    scene.host.crash(is_told=scene.random.random() < 0.7)


def _drain(scene: Scene) -> None:
    scene.host.ask_to_stop()


def _back_up(scene: Scene) -> None:
    scene.disk.back_up()


def _restore(scene: Scene) -> None:
    if scene.disk.has_copy:
        scene.wants_restore = True
        if scene.random.random() < 0.5:
            scene.host.crash()
        else:
            scene.host.ask_to_stop()


def _set_clock(scene: Scene) -> None:
    ms = scene.random.choice([-3_600_000, -5_000, -50, 50, 5_000, 60_000])
    scene.host.wall.jump(ms)
    scene.trace.quiet("clock", ms)


def _restart_app(scene: Scene) -> None:
    running = scene.running()
    if running:
        device = scene.random.choice(running)
        scene.network.end_process(device.kill(), is_told=scene.random.random() < 0.7)
        scene.start_later(device, device.cursor)


def _old_cursor(scene: Scene) -> None:
    running = [device for device in scene.running() if device.connections]
    if running:
        device = scene.random.choice(running)
        record = scene.random.choice(device.connections)
        scene.network.end_process(device.kill(), is_told=True)
        scene.start_later(device, f"{record.epoch}:{record.start}")


def _slow_app(scene: Scene) -> None:
    device = scene.random.choice(scene.devices)
    device.think_s = scene.random.choice([0.0, 0.1, 1.0])


def _new_device(scene: Scene) -> None:
    device_id = f"n{len(scene.devices)}"
    scene.add_device(scene.random.choice(scene.users), device_id).start(None)


def _twin_device(scene: Scene) -> None:
    """Another installation with the same device id: each replaces the other."""
    of = scene.random.choice(scene.devices)
    scene.add_device(of.user_id, of.device_id).start(of.cursor)


def _vanish(scene: Scene) -> None:
    """A device falls into the sea: nobody is told, and it never comes back."""
    running = scene.running()
    if len(running) > 1:
        device = scene.random.choice(running)
        device.is_gone = True
        scene.network.end_process(device.kill(), is_told=False)


def _change_receiver(scene: Scene, **fields: float | bool) -> None:
    if scene.service is not None:
        scene.service.change(**fields)


def _receiver_down(scene: Scene) -> None:
    _change_receiver(scene, is_down=True)


def _receiver_slow(scene: Scene) -> None:
    _change_receiver(scene, delay_s=scene.random.choice([0.2, 1.0, 4.0]))


def _receiver_moody(scene: Scene) -> None:
    _change_receiver(scene, failing=scene.random.choice([0.2, 0.5, 1.0]))


def _receiver_poisoned(scene: Scene) -> None:
    _change_receiver(scene, poison=scene.random.choice([0.02, 0.2]))


def _receiver_well(scene: Scene) -> None:
    _change_receiver(scene)


def _replay(scene: Scene) -> None:
    scene.revive()


MISHAPS: Final[Mapping[str, Callable[[Scene], None]]] = {
    "cut": _cut,
    "cut all": _cut_all,
    "half-open": _half_open,
    "stall": _stall,
    "hang": _hang,
    "store fault": _store_fault,
    "slow store": _slow_store,
    "crash": _crash,
    "drain": _drain,
    "backup": _back_up,
    "restore": _restore,
    "clock": _set_clock,
    "app restart": _restart_app,
    "old cursor": _old_cursor,
    "slow app": _slow_app,
    "new device": _new_device,
    "twin device": _twin_device,
    "vanish": _vanish,
    "receiver down": _receiver_down,
    "receiver slow": _receiver_slow,
    "receiver moody": _receiver_moody,
    "receiver poisoned": _receiver_poisoned,
    "receiver well": _receiver_well,
    "replay": _replay,
}
