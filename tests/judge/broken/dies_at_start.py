"""A mistake that Python finds when it runs."""

from right import Server

Server().begin_to_serve()
