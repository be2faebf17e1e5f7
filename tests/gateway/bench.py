"""A customer, a model and its misbehaving upstream, around the running service; and the accountant's questions."""

import itertools
import time
from datetime import timedelta
from fractions import Fraction
from http.client import HTTPConnection
from math import ceil
from typing import Any, Final
from urllib.parse import urlsplit

from billing import holds
from billing.models import Hold, Price, Transfer, Upstream
from faces.asgi import application
from tests import world
from tests.fakes.upstream import Script
from tests.gateway import client
from tests.gateway.client import CHAT, Reply, Stream
from tests.service import Running

CREDIT: Final = 5 * world.USD
INPUT: Final = 2_345_678_901
OUTPUT: Final = 11_111_111_113
"""Nano-USD per million tokens: prices at which every charge has to be rounded."""
PROMPT: Final = "What is the answer?"
PROMPT_TOKENS: Final = 5
"""19 bytes, four a token, rounded up: what the prompt counts as where the upstream does not say."""

numbers = itertools.count(1)


class Bench:
    """Everything is new for each test, since rows of money are never deleted."""

    def __init__(self, service: Running, upstream: Script, *, credit: int = CREDIT, budget: int | None = None) -> None:
        self.service = service
        self.upstream = upstream
        self.user = world.account(credit=credit)
        self.parent = world.key(self.user, budget=budget)
        self.key = world.key(self.user, parent=self.parent)
        self.credit = credit
        self.opened: list[Stream | HTTPConnection] = []
        """What the fixture closes, however the test ends."""
        self.model = f"vendor/model-{next(numbers)}"
        row = Upstream.objects.create(name=f"upstream of {self.model}", base_url=upstream.base_url)
        self.price = Price.objects.create(
            model=self.model,
            upstream=row,
            upstream_model="its-own-name",
            input_price_nanousd=INPUT,
            output_price_nanousd=OUTPUT,
        )
        service.forget_routes()

    def set_price(self, **fields: Any) -> None:
        Price.objects.filter(model=self.model).update(**fields)
        self.service.forget_routes()

    def set_upstream(self, **fields: Any) -> None:
        Upstream.objects.filter(name=self.price.upstream_id).update(**fields)
        self.service.forget_routes()

    def request(self, **fields: Any) -> dict[str, Any]:
        return {"model": self.model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 100, **fields}

    def chat(self, *, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
        """A plain call and its whole answer."""
        return client.ask(self.service.url, "POST", CHAT, self.key.text, self.request(**fields), **(headers or {}))

    def send(self, **fields: Any) -> HTTPConnection:
        """A call whose answer is not waited for."""
        connection = client.send(self.service.url, "POST", CHAT, self.key.text, self.request(**fields))
        self.opened.append(connection)
        return connection

    def stream(self, **fields: Any) -> Stream:
        """A streaming call, read as far as the headers; it asks for usage unless told otherwise."""
        asked = {"stream": True, "stream_options": {"include_usage": True}, **fields}
        stream = client.start(self.service.url, "POST", CHAT, self.key.text, self.request(**asked))
        self.opened.append(stream)
        return stream

    def events(self, **fields: Any) -> list[Any]:
        """The events of a whole stream."""
        stream = self.stream(**fields)
        events = stream.events()
        stream.close()
        return events

    @staticmethod
    def reply_to(connection: HTTPConnection) -> Reply:
        return client.finish(connection)

    def wait_until_held(self, amount: int | None = None) -> None:
        """Until the one call of this customer is admitted, or holds this much."""
        wanted = {} if amount is None else {"amount_nanousd": amount}
        for _ in range(2000):
            if Hold.objects.filter(account_id=self.user.id, **wanted).exists():
                return
            time.sleep(0.005)
        raise AssertionError("that was never held")

    def send_half(self) -> HTTPConnection:
        """A request whose body stops half way."""
        connection = HTTPConnection("127.0.0.1", urlsplit(self.service.url).port)
        connection.putrequest("POST", CHAT)
        for name, value in (("authorization", f"Bearer {self.key.text}"), ("content-type", "application/json")):
            connection.putheader(name, value)
        connection.putheader("content-length", "4000")
        connection.endheaders(b'{"model": "')
        return connection

    def leave(self, connection: Stream | HTTPConnection) -> None:
        """The client goes, and the gateway has noticed when this returns: it has answered a request that came later."""
        connection.close()
        assert client.ask(self.service.url, "GET", "/v1/models", self.key.text).status == 200

    def reset(self, connection: HTTPConnection) -> None:
        """The same, with a reset (RST) rather than an end."""
        client.reset(connection)
        assert client.ask(self.service.url, "GET", "/v1/models", self.key.text).status == 200

    def hang_up(self, connection: Stream | HTTPConnection) -> None:
        """The client goes, and its call is at its end when this returns."""
        connection.close()
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Until the gateway runs no request."""
        self.service.run(application.gateway.idle)

    def hold(self) -> Hold:
        """The one hold of this customer."""
        return Hold.objects.get(account_id=self.user.id)

    def expire(self) -> None:
        """What the job does once the hold is overdue."""
        hold = self.hold()
        assert hold.id in holds.expire_overdue(now=hold.expires_at + timedelta(seconds=1))

    def check_charged(
        self, prompt: int, output: int, *, outcome: str = "ok", is_counted: bool = False, cached: int = 0
    ) -> int:
        """Asserts that the one call was charged for these tokens, to the nano-dollar, in every row that says so."""
        expected = cost(prompt, output)
        hold = self.hold()
        assert (hold.input_tokens, hold.output_tokens, hold.outcome) == (prompt, output, outcome)
        assert (hold.is_counted, hold.status) == (is_counted, "settled")
        self.check_money(expected)
        return expected

    def check_money(self, charged: int, *, lost: int = 0) -> None:
        """Asserts what hold, transfers, account and every key of the chain say was charged, that nothing is held any more,
        and that the ledger adds up."""
        hold = self.hold()
        assert (hold.charged_nanousd, hold.lost_nanousd) == (charged, lost)
        assert world.charges(self.user) == ([charged] if charged else [])
        if charged:
            transfer = Transfer.objects.get(account_id=self.user.id, code="charge")
            assert (transfer.hold_id, transfer.balance_after_nanousd) == (hold.id, self.credit - charged)
        assert world.money(self.user) == (self.credit - charged, 0)
        assert world.spent(self.key) == world.spent(self.parent) == (charged, 0)

    def check_free(self, *, outcome: str) -> None:
        """Asserts that the hold was given back whole."""
        hold = self.hold()
        assert (hold.status, hold.outcome) == ("released", outcome)
        self.check_money(0)


def cost(prompt: int, output: int, request: int = 0) -> int:
    """Nano-USD by the price list, rounded up once: worked out here without the code under test."""
    return ceil(Fraction(prompt * INPUT, 10**6) + Fraction(output * OUTPUT, 10**6)) + request
