"""Collected sessions on the Hub, while they are collected: what a capture server is handed.

hub_shards  the shards of a repository: which there are, and which sessions are in them
hub_push    pushes sessions and shards, and takes out who withdrew
"""

from __future__ import annotations

from ifllm_hf.hub.collecting.hub_push import HubPush

__all__ = ["HubPush"]
