"""Findings → messages → channels: ``render`` makes texts, ``channels`` send them, ``desk`` decides what and when.

``teller`` does it in the background of a process.
"""

from __future__ import annotations

from advisor.notify.channels import Channel, open_channel
from advisor.notify.render import Message

__all__ = ["Channel", "Message", "open_channel"]
