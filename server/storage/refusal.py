"""Why a store cannot be opened."""


class StoreRefused(Exception):
    """This directory holds no store that this program may serve; nothing in it was changed.

    The message is for the operator: what is wrong with which file, and what to do.
    """
