"""Placeholder until the generator's output stands here."""


def check(config):
    return None


def check_process(process):
    return None
