"""What a request for downloads has to do with secrets: its cookie jar, its receiver, what may be stored."""

from typing import TypeVar

import msgspec
from aiohttp import web

from umd.api import links
from umd.api.context import CONTEXT
from umd.domain import webhooks
from umd.domain.options import MediaOptions
from umd.errors import FieldError, InvalidInput

O = TypeVar("O", bound=MediaOptions)  # noqa: E741  # options


def check(request: web.Request, options: MediaOptions, whose: str) -> None:
    """Hold new options to the jars that their owner has, and to receivers that are not the service itself.

    Raises `InvalidInput`.
    """
    context = request.app[CONTEXT]
    context.cookies.require(options.cookies_id, whose, context.clock.now())
    if options.webhook_url is None:
        return
    if webhooks.origin(options.webhook_url) == webhooks.origin(links.base_url(request, context.settings)):
        raise InvalidInput(FieldError("/webhook_url", "This is the service's own address."))


def sealed(request: web.Request, options: O, whose: str) -> O:
    """The options as they may be stored: their own secret sealed. Raises `SecretsUnavailable`."""
    if options.webhook_secret is None:
        return options
    secret = request.app[CONTEXT].vault.seal_text(options.webhook_secret, "webhook", whose)
    return msgspec.structs.replace(options, webhook_secret=secret)
