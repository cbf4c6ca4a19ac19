"""The programs that owner, trainers, aggregator and auditor run against a chain and a store.

The engine's steps (commit_update, prove_round, verify_round, …) are one folder up; a role strings them together.
"""
