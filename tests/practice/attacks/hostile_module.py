"""A module whose class does the unexpected at every step: when it is asked about, built, loaded, moved, called."""

import torch


class Strange(type(torch.nn.Module)):
    def __instancecheck__(cls, instance):
        return True

    def __subclasscheck__(cls, subclass):
        return True

    def __call__(cls, *args, **kwargs):
        return Anything()


class Anything(torch.nn.Module):
    def load_state_dict(self, state, *args, **kwargs):
        self.__dict__["state"] = state

    def to(self, *args, **kwargs):
        return None

    def eval(self):
        return self

    def __call__(self, x):
        return next(iter(self.state.values()))


class Project(torch.nn.Module, metaclass=Strange):
    pass
