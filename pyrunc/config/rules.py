"""Placeholder until the rules stand here."""


def first(config):
    return None


def first_of_process(process):
    return None
