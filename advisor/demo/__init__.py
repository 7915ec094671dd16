"""The whole story on real trainings, offline, in about a minute: what ``advisor demo`` shows.

``story`` tells it, ``stage`` prints, ``training`` holds the neural network and the process that gets killed,
``inbox`` receives the notifications.

Invariant: the demo only ever removes a folder that an earlier demo marked as its own.
"""

from advisor.demo.story import main

__all__ = ["main"]
