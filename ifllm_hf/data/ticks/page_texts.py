"""Texts that the collection site itself put on the page, beside the answers."""

from __future__ import annotations

PLACEHOLDER = (
    "After you type your question, please wait patiently. It might take up to 1 minute for AI to "
    "finish generating their answer. The AI's response will show up here."
)

# The widget that asks for the ratings: headings, the five levels, the question, the button.
RATING_TEXTS = (
    "Left Response",
    "Right Response",
    "Response",
    "Very Dissatisfied",
    "Dissatisfied",
    "Neutral",
    "Satisfied",
    "Very Satisfied",
    "Which response did you like better?",
    "Next Step",
)
