"""Commands to look at scenes, and to make data sets of generated rooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from g2vlm_fast.pipeline.data_config import (
    ShowConfig,
    StatisticsConfig,
    ViewConfig,
    WriteConfig,
)


@dataclass(frozen=True, kw_only=True)
class View(ViewConfig):
    """Open a scene in the browser: cloud, boxes, cameras, and what is said about it."""

    scene: Annotated[str, tyro.conf.Positional]
    """Seed of a generated room, or folder of a scan."""


@dataclass(frozen=True, kw_only=True)
class Show(ShowConfig):
    """Draw a contact sheet: views, depth, boxes, scene graph and sentences on one picture."""

    scene: Annotated[str, tyro.conf.Positional]
    """Seed of a generated room, or folder of a scan."""


@dataclass(frozen=True, kw_only=True)
class Statistics(StatisticsConfig):
    """Count what the texts of generated rooms ask, and how far guessing goes."""


@dataclass(frozen=True, kw_only=True)
class Write(WriteConfig):
    """Write generated rooms into files, to be read back faster than they are made."""


@dataclass(frozen=True)
class Data:
    """Look at generated rooms and at scans; see data --help."""


def view(command: View) -> None:
    """Carry out ``g2vlm-fast view``: serve until interrupted."""
    import webbrowser

    from g2vlm_fast.pipeline.show import load_scene
    from g2vlm_fast.pipeline.view import serve_scene

    scene, texts = load_scene(command)
    server = serve_scene(scene, texts, host=command.host, port=command.port)
    if command.open_browser:
        webbrowser.open(f"http://{command.host}:{server.get_port()}")
    try:
        server.sleep_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


def show(command: Show) -> None:
    """Carry out ``g2vlm-fast data show``."""
    from rich.console import Console

    from g2vlm_fast.pipeline import show

    Console().print(f"drawn: [bold]{show.show(command)}[/bold]")


def statistics(command: Statistics) -> None:
    """Carry out ``g2vlm-fast data statistics``."""
    from g2vlm_fast.pipeline.dataset import text_statistics
    from g2vlm_fast.train.log import ProgressBar

    with ProgressBar(enabled=True, title="rooms") as bar:
        table = text_statistics(
            command, lambda share: bar.update(share, title="rooms", status="making")
        )
    print(table)


def write(command: Write) -> None:
    """Carry out ``g2vlm-fast data write``."""
    from rich.console import Console

    from g2vlm_fast.pipeline.dataset import write_rooms
    from g2vlm_fast.train.log import ProgressBar

    with ProgressBar(enabled=True, title="rooms") as bar:
        count = write_rooms(
            command, lambda share: bar.update(share, title="rooms", status="making")
        )
    Console().print(f"written: {count} rooms to [bold]{command.out}[/bold]")
