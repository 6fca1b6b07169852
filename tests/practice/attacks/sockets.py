"""Talks to the machine's own ports and to the world."""

import socket

import torch


def reached():
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", int("@PORT@"))),
        (socket.AF_INET6, ("::1", int("@PORT@"))),
        (socket.AF_UNIX, "\0abstract"),
        (socket.AF_UNIX, "/run/systemd/notify"),
        (socket.AF_INET, ("192.0.2.1", 80)),
    ):
        try:
            connection = socket.socket(family)
            connection.settimeout(0.1)
            connection.connect(address)
            connection.send(b"the hidden cases")
        except OSError:
            pass


def contrast(images, texts, scale):
    reached()
    return torch.zeros(())
