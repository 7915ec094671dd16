"""Findings → messages → channels: ``render`` makes texts, ``channels`` send them, ``outbox`` decides what and when."""

from __future__ import annotations

from advisor.notify.channels import Channel, open_channel
from advisor.notify.outbox import Notifier
from advisor.notify.render import Message

__all__ = ["Channel", "Message", "Notifier", "open_channel"]
