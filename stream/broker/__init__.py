"""The broker of the local stream: its settings, its data, its process, its safe start. actors/broker.py runs it."""
