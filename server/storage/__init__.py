"""Stores: the adapters of ``server.service.ports.Store``."""
