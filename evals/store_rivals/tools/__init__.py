"""One module a tool. Each imports its tool inside functions, so that the driver can read its constants.

A module has ``ENVIRONMENT`` (variables; ``{folder}`` is filled in), ``STARTUP`` (a script up to the first step of a
training) and ``STARTUP_END``, ``Live`` (a run that is written), ``count``, ``fill``, ``fill_curves`` and ``Reader``.
What a tool does not offer is named in ``NOT_OFFERED`` with the reason, which the report prints.
"""
