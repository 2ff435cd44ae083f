"""Conversations: a template turns them into one text, with tokens that no one can type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from .model import Llama

PRIVATE = 0xE000
"""The first of Unicode's private characters: each stands for a special token that was typed."""


def encode_chat(model: Llama, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """The tokens of a conversation, up to where the model's answer begins.

    The names of special tokens that a message holds are text, so that nobody ends a turn by typing
    its end.

    Args:
        model: with a tokenizer and a chat template.
        messages: as ``Llama.chat`` takes them.
    Raises:
        ValueError, TypeError: the model has no template, or that does not take these messages.
    """
    if model.chat_template is None:
        raise ValueError("this model came without a chat template: generate() from a text instead")
    special = model.tokenizer.special
    by_length = sorted(special, key=len, reverse=True)
    marks = re.compile("|".join(map(re.escape, by_length)) or "(?!)")
    typed = {name: chr(PRIVATE + place) for place, name in enumerate(by_length)}
    hidden = [
        {key: _hidden(text, marks, typed, place) for key, text in _checked(message, place).items()}
        for place, message in enumerate(messages)
    ]
    names = {token: name for name, token in special.items()}
    config = model.config
    text = _render(
        model.chat_template,
        messages=hidden,
        add_generation_prompt=True,
        bos_token="" if config.bos is None else names.get(config.bos, ""),
        eos_token=names.get(config.eos[0], "") if config.eos else "",
    )
    back = str.maketrans({character: name for name, character in typed.items()})
    tokens: list[int] = []
    end = 0
    for mark in marks.finditer(text):
        tokens += model.tokenizer.encode(text[end : mark.start()].translate(back))
        tokens.append(special[mark[0]])
        end = mark.end()
    return tokens + model.tokenizer.encode(text[end:].translate(back))


def _checked(message: Mapping[str, str], place: int) -> Mapping[str, str]:
    if not (
        isinstance(message, Mapping)
        and {"role", "content"} <= set(message)
        and all(isinstance(text, str) for text in message.values())
    ):
        raise TypeError(
            f'message {place} must be of texts, such as {{"role": "user", "content": "Hello"}}, '
            f"got {message!r}"
        )
    return message


def _hidden(text: str, marks: re.Pattern[str], typed: Mapping[str, str], place: int) -> str:
    """A text with a private character in the place of every special token's name."""
    if taken := set(text) & set(typed.values()):
        raise ValueError(
            f"message {place} holds the private character U+{ord(min(taken)):04X}, which stands "
            f"for a special token here: leave it out"
        )
    return marks.sub(lambda mark: typed[mark[0]], text)


def _render(template: str, **given: Any) -> str:
    def refuse(sentence: str) -> None:
        raise ValueError(sentence)

    # A template is a program from a stranger's file. It may not reach outside of its sandbox, and
    # whatever it raises is about the messages.
    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    sandbox.globals["raise_exception"] = refuse
    try:
        return sandbox.from_string(template).render(given)
    except Exception as error:
        raise ValueError(f"the chat template does not take these messages: {error}") from None
