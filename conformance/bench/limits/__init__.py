"""Limit programs: what blocking system calls cost when nothing else is done.

No locks, no checks, no flushing unless asked for, nothing kept over the end of the process: no server, but what one can
be measured against.
"""
