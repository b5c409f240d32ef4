"""What other programs export, as a prepared folder with `messages` and `actions`.

open_webui_export   files -> chats and ratings; one clear error for what is no export
open_webui_chat     one chat -> rows of `messages` and `actions`
import_chats        all of it, without personal data -> a prepared folder with its ledger
import_command      `ifllm import`
"""
