"""Deterministic simulation: whole histories of a mesh on virtual time, decided by a seed.

After FoundationDB's simulation and TigerBeetle's VOPR: the real engine, its faults and its clocks
in one process and one thread, so that whatever goes wrong goes wrong again.
"""
