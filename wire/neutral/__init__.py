"""The neutral middle of conversion: requests, replies and events that every dialect reads and writes.

Same-format traffic never comes here (`wire.passthrough`).
"""
