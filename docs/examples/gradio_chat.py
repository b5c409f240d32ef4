"""Two answers side by side; who agrees on the page is recorded while reading them."""

import random

import gradio as gr

from ifllm_hf.capture import record_chat


def reply(chat):  # ask your model here
    text = f"## Answer {random.random()}\n\n" + chat[-1]["content"][0]["text"]
    return [*chat, {"role": "assistant", "content": text}]


def ask(question, *chats):
    asked = {"role": "user", "content": [{"type": "text", "text": question}]}
    return "", *(reply([*chat, asked]) for chat in chats)


with gr.Blocks() as demo:
    with gr.Row():
        chats = [gr.Chatbot(height=400, editable="all") for _ in range(2)]
    box = gr.Textbox(placeholder="Ask both")
    box.submit(ask, [box, *chats], [box, *chats])
    for chat in chats:
        chat.retry(lambda chat: reply(chat[:-1]), chat, chat)
        chat.undo(lambda chat: chat[:-2], chat, chat)
        chat.like(lambda: None)
    record_chat(chats)  # $IFLLM_SPACE_CONTACT, $IFLLM_SPACE_LEGAL_BASIS: who asks, on what ground
demo.launch()
