"""The money in the admin: every row to be found and taken away as CSV, the ledger changed only by what it says it does."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts import addresses
from accounts.models import User, Wallet
from apikeys import pages
from billing import corrections, holds, ledger, reconcile, topups, upstream_probe
from billing.models import Hold, LedgerCheck, Party, Price, TopUp, TopUpStatus, Transfer, TransferCode, Upstream
from faces.lib import admin as bounds
from tests import world

pytestmark = pytest.mark.django_db

LEDGER = ("creditaccount", "transfer", "hold", "topup", "paymentreference")
EXPORTED = ("creditaccount", "transfer", "hold", "topup")
ADDRESS = "0x" + "ab" * 20


@pytest.fixture
def boss() -> User:
    return world.account(username="operator", is_staff=True, is_superuser=True)


@pytest.fixture
def operator(boss: User) -> Client:
    client = Client()
    client.force_login(boss)
    return client


@pytest.fixture(autouse=True)
def _the_books_add_up(db: None) -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        for what, sql in reconcile.CHECKS.items():
            cursor.execute(sql)
            assert (what, cursor.fetchall()) == (what, [])


def staff(*permissions: str) -> Client:
    """An operator who may do only this."""
    user = world.account(username="staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def paid(user: User, amount: int = 5 * world.USD, *, ref: str = "pay-1") -> TopUp:
    order = topups.Order(amount_nanousd=amount, payment_ref=ref, address=None)
    return topups.record(account_id=user.id, key_id=None, recorded_by=user.id, order=order, now=timezone.now())


def form_of(page: Any, **changes: Any) -> dict[str, Any]:
    """What a browser would send from the form of a page."""
    form = page.context["adminform"].form

    def sent(name: str, value: Any) -> Any:
        shown = form.fields[name].prepare_value(value)
        return "" if shown is None else ",".join(shown) if isinstance(shown, list) else shown

    values = {name: form[name].value() for name in form.fields}
    body = {name: sent(name, value) for name, value in {**values, **changes}.items()}
    before = {f"initial-{name}": sent(name, form[name].initial) for name in form.fields}
    return {name: value for name, value in {**before, **body}.items() if value is not False}


def listed(client: Client, model: str, /, **query: str) -> list[Any]:
    page = client.get(reverse(f"admin:billing_{model}_changelist"), query)
    assert page.status_code == 200
    return list(page.context["cl"].queryset)


def downloaded(client: Client, model: str, /, **query: str) -> list[dict[str, str]]:
    answer = client.get(reverse(f"admin:billing_{model}_export"), query)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    text = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def said(answer: Any) -> str:
    assert answer.status_code == 302, answer.content.decode()
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


class TestLedger:
    @pytest.mark.parametrize("model", LEDGER)
    def test_is_listed_and_found_but_never_written(self, operator: Client, model: str) -> None:
        user = world.account(credit=100)
        Wallet.objects.create(account=user, address=ADDRESS)
        placed = holds.place(world.request(user, world.key(user), rates=world.flat(50)))
        holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20)
        paid(user)
        listing = reverse(f"admin:billing_{model}_changelist")
        for search in ("", str(user.id), ADDRESS, "nothing", "\x00", "'; --"):
            assert operator.get(listing, {"q": search}).status_code == 200
        assert operator.get(reverse(f"admin:billing_{model}_add")).status_code == 403
        row = listed(operator, model)[0]
        for path in ("change", "delete"):
            target = reverse(f"admin:billing_{model}_{path}", args=[row.pk])
            assert operator.post(target, {"post": "yes"}).status_code == 403
        page = operator.get(reverse(f"admin:billing_{model}_change", args=[row.pk]))
        assert page.status_code == 200
        assert b'name="_save"' not in page.content

    @pytest.mark.parametrize("model", LEDGER)
    def test_lists_with_as_many_queries_for_ten_rows_as_for_two(self, operator: Client, model: str) -> None:
        def counted() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert operator.get(reverse(f"admin:billing_{model}_changelist")).status_code == 200
            return len(queries)

        def more(number: int) -> None:
            for _ in range(number):
                user = world.account()
                paid(user, ref=f"pay-{user.id}")
                placed = holds.place(world.request(user, world.key(user), rates=world.flat(50)))
                holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=20)

        more(2)
        few = counted()
        more(8)
        assert counted() == few <= 12

    def test_finds_the_rows_of_an_account(self, operator: Client) -> None:
        user, other = world.account(credit=100), world.account(credit=100)
        page = operator.get(reverse("admin:billing_transfer_changelist"), {"q": str(user.id)})
        assert list(page.context["cl"].queryset) == list(Transfer.objects.filter(account_id=user.id))
        assert reverse("admin:accounts_user_change", args=[user.id]) in page.content.decode()
        assert str(other.id).encode() not in page.content

    @pytest.mark.parametrize("model", LEDGER)
    def test_names_an_account_as_the_list_of_accounts_does(self, operator: Client, boss: User, model: str) -> None:
        """By its user name, its first wallet, or the end of its id; every name leads to the account."""
        with_wallets, without = world.account(), world.account()
        for address in (ADDRESS, "0x" + "cd" * 20):
            Wallet.objects.create(account=with_wallets, address=address)
        address = addresses.checksum(addresses.parse(ADDRESS))
        for user, name in (
            (boss, "operator"),
            (with_wallets, f"{address[:6]}…{address[-4:]}"),
            (without, f"…{str(without.id)[-8:]}"),
        ):
            paid(user, ref=f"pay-{user.id}")
            holds.place(world.request(user, rates=world.flat(50)))
            named = f'<a href="{reverse("admin:accounts_user_change", args=[user.id])}">{name}</a>'
            assert named in operator.get(reverse(f"admin:billing_{model}_changelist")).content.decode()
            row = listed(operator, model, q=str(user.id))[0]
            assert named in operator.get(reverse(f"admin:billing_{model}_change", args=[row.pk])).content.decode()

    def test_counts_no_more_than_it_can_show(self, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounds, "MOST_LISTED", 2)
        for _ in range(3):
            world.account(credit=100)
        page = operator.get(reverse("admin:billing_transfer_changelist"))
        assert page.context["cl"].result_count == 2
        assert page.context["cl"].full_result_count is None

    def test_finds_the_rows_of_a_wallet_however_its_address_is_written(self, operator: Client) -> None:
        user = world.account(credit=100)
        world.account(credit=100)
        address = addresses.parse(ADDRESS)
        Wallet.objects.create(account=user, address=address)
        for written in (address, addresses.checksum(address), f" {address} "):
            assert listed(operator, "transfer", q=written) == list(Transfer.objects.filter(account_id=user.id))

    def test_shows_the_checks_of_the_books(self, operator: Client) -> None:
        LedgerCheck.objects.create(checked_at=timezone.now(), duration_seconds=1, difference_count=2, findings="two")
        page = operator.get(reverse("admin:billing_ledgercheck_changelist"))
        assert [row.difference_count for row in page.context["cl"].queryset] == [2]
        assert operator.get(reverse("admin:billing_ledgercheck_add")).status_code == 403


class TestTransfers:
    def test_are_found_by_their_hold_top_up_reference_and_id(self, operator: Client) -> None:
        user = world.account()
        topup = paid(user)
        hold_id = holds.place(world.request(user, rates=world.flat(50))).hold_id
        holds.settle(account_id=user.id, hold_id=hold_id, cost_nanousd=20)
        ledger.post(
            account_id=user.id,
            amount_nanousd=7,
            counterparty=Party.ADJUSTMENT,
            code=TransferCode.ADJUSTMENT,
            reference="credit:ticket-17",
        )
        ticket = str(uuid7())
        corrections.correct(
            account_id=user.id, amount_nanousd=1, reference=ticket, reason="A ticket with such a number"
        )
        bought, charge, correction, other = Transfer.objects.filter(account_id=user.id).order_by("id")
        for text, found in (
            (str(hold_id), charge),
            (f"hold:{hold_id}", charge),
            (str(topup.id), bought),
            (f"topup:{topup.id}", bought),
            ("ticket-17", correction),
            (ticket, other),
            ("credit:ticket-17", correction),
            (str(charge.id), charge),
        ):
            assert listed(operator, "transfer", q=text) == [found], text

    def test_link_the_call_or_payment_behind_them(self, operator: Client) -> None:
        user = world.account()
        topup = paid(user)
        hold_id = holds.place(world.request(user, rates=world.flat(50))).hold_id
        holds.settle(account_id=user.id, hold_id=hold_id, cost_nanousd=20)
        page = operator.get(reverse("admin:billing_transfer_changelist")).content.decode()
        assert reverse("admin:billing_hold_change", args=[hold_id]) in page
        assert reverse("admin:billing_topup_change", args=[topup.id]) in page
        assert f"q={hold_id}" in operator.get(reverse("admin:billing_hold_changelist")).content.decode()

    def test_are_narrowed_by_code_and_by_days_with_both_ends(self, operator: Client) -> None:
        user = world.account()
        paid(user)
        hold_id = holds.place(world.request(user, rates=world.flat(50))).hold_id
        holds.settle(account_id=user.id, hold_id=hold_id, cost_nanousd=20)
        assert {row.code for row in listed(operator, "transfer", code__exact="charge")} == {"charge"}
        today = timezone.now().date()
        day = timedelta(days=1)
        both = {"start_date": str(today - day), "end_date": str(today + day)}
        assert len(listed(operator, "transfer", **both)) == 2
        assert listed(operator, "transfer", start_date=str(today + day)) == []
        assert listed(operator, "transfer", end_date=str(today - day), start_date="") == []
        assert len(listed(operator, "transfer", **both, code__exact="topup", q=str(user.id))) == 1

    def test_say_what_is_wrong_with_a_day_and_list_nothing(self, operator: Client) -> None:
        paid(world.account())
        for query in ({"start_date": "yesterday"}, {"start_date": "2026-02-02", "end_date": "2026-02-01"}):
            page = operator.get(reverse("admin:billing_transfer_changelist"), query)
            assert list(page.context["cl"].queryset) == []
            assert "Write a day" in page.content.decode()


class TestHolds:
    def test_are_narrowed_to_those_that_need_a_look(self, operator: Client) -> None:
        user = world.account(credit=100)
        names = ("pending", "lost", "expired", "counted", "usual")
        found = {name: holds.place(world.request(user, rates=world.flat(10), model=name)).hold_id for name in names}
        for name, cost, is_counted in (("lost", 1000, False), ("counted", 5, True), ("usual", 5, False)):
            holds.settle(account_id=user.id, hold_id=found[name], cost_nanousd=cost, is_counted=is_counted)
        Hold.objects.filter(id=found["expired"]).update(expires_at=timezone.now())
        assert holds.expire_overdue() == [found["expired"]]
        for name in names[:4]:
            assert [row.id for row in listed(operator, "hold", look=name)] == [found[name]]
            assert [row.id for row in listed(operator, "hold", model=name)] == [found[name]]
        assert {row.id for row in listed(operator, "hold")} == set(found.values())
        assert holds.settle(account_id=user.id, hold_id=found["expired"], cost_nanousd=3).state == "late"
        assert [row.id for row in listed(operator, "hold", look="late")] == [found["expired"]]
        assert listed(operator, "hold", look="lost", model="usual") == []
        assert {row.id for row in listed(operator, "hold", start_date=str(timezone.now().date()))} == set(
            found.values()
        )

    def test_say_how_a_call_ended_as_its_customer_reads_it(self, operator: Client) -> None:
        user = world.account(credit=100)
        for outcome in ("ok", "hung_up"):
            placed = holds.place(world.request(user, rates=world.flat(10)))
            holds.settle(account_id=user.id, hold_id=placed.hold_id, cost_nanousd=5, outcome=outcome)
        holds.place(world.request(user, rates=world.flat(10)))
        page = operator.get(reverse("admin:billing_hold_changelist")).content.decode()
        said = re.findall(r'<td class="field-ending">(.*?)</td>', page)
        assert said == ["Running", "Caller hung up; charged what arrived", "Answered"]
        assert "Counted by us" in page
        row = operator.get(reverse("admin:billing_hold_change", args=[placed.hold_id])).content.decode()
        assert "Caller hung up; charged what arrived" in row
        assert ("Counted by us" in row, "Is counted" in row) == (True, False)

    def test_are_found_by_request_id_own_id_and_key(self, operator: Client) -> None:
        user = world.account(credit=100)
        leaf = world.key(user)
        hold_id = holds.place(world.request(user, leaf, rates=world.flat(10), request_id="5e" * 16)).hold_id
        holds.place(world.request(user, rates=world.flat(10)))
        for text in ("5e" * 16, str(hold_id), str(leaf.id)):
            assert [row.id for row in listed(operator, "hold", q=text)] == [hold_id]

    def test_show_what_is_held_now_and_what_was(self, operator: Client) -> None:
        user = world.account(credit=world.USD)
        hold_id = holds.place(world.request(user, rates=world.flat(10**8))).hold_id
        target = reverse("admin:billing_hold_change", args=[hold_id])

        def held() -> list[str]:
            page = operator.get(target).content.decode()
            return re.findall(r'field-(?:held_now|was_held)_usd".*?<data class="money" value="(.*?)"', page, re.DOTALL)

        assert held() == ["0.100000000", "0.100000000"]
        holds.settle(account_id=user.id, hold_id=hold_id, cost_nanousd=7)
        Hold.objects.filter(id=hold_id).update(upstream_cost_nanousd=5)
        assert held() == ["0.000000000", "0.100000000"]
        assert "0.000000002" in operator.get(target).content.decode()


class TestExport:
    @pytest.mark.parametrize("model", EXPORTED)
    def test_needs_the_right_to_look(self, model: str) -> None:
        target = reverse(f"admin:billing_{model}_export")
        assert staff("view_price").get(target).status_code == 403
        assert Client().get(target).status_code == 302

    def test_has_exactly_what_is_filtered_with_exact_signed_amounts(self, operator: Client) -> None:
        user, other = world.account(), world.account(credit=1)
        paid(user)
        hold_id = holds.place(world.request(user, rates=world.flat(50))).hold_id
        holds.settle(account_id=user.id, hold_id=hold_id, cost_nanousd=20)
        rows = downloaded(operator, "transfer", q=str(user.id))
        assert [(row["code"], row["amount_usd"], row["balance_after_usd"], row["hold_id"]) for row in rows] == [
            ("charge", "-0.00000002", "4.99999998", str(hold_id)),
            ("topup", "5.00", "5.00", ""),
        ]
        charge = Transfer.objects.get(hold_id=hold_id)
        assert rows[0]["created_at"] == charge.created_at.isoformat().replace("+00:00", "Z")
        assert len(downloaded(operator, "transfer", code__exact="topup")) == 2
        assert [row["account_id"] for row in downloaded(operator, "creditaccount")] == [str(other.id), str(user.id)]
        assert downloaded(operator, "creditaccount")[1]["available_usd"] == "4.99999998"
        assert [row["charged_usd"] for row in downloaded(operator, "hold")] == ["0.00000002"]
        assert downloaded(operator, "hold", look="pending") == []
        assert [row["payment_ref"] for row in downloaded(operator, "topup")] == ["pay-1"]

    def test_runs_nothing_in_a_spreadsheet(self, operator: Client) -> None:
        paid(world.account(), ref="=cmd()")
        assert downloaded(operator, "topup")[0]["payment_ref"] == "'=cmd()"

    def test_goes_through_every_page_once(self, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        user = world.account(credit=100)
        for _ in range(7):
            holds.place(world.request(user, rates=world.flat(1)))
        paged = pages.every
        for page in (1, 3, 7, 8):
            monkeypatch.setattr(pages, "every", lambda rows, page=page: paged(rows, limit=page))
            ids = [row["id"] for row in downloaded(operator, "hold")]
            assert ids == [str(row.id) for row in Hold.objects.order_by("-id")]
            assert len(ids) == 7

    def test_is_bound_by_no_count(self, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bounds, "MOST_LISTED", 2)
        for _ in range(3):
            world.account(credit=100)
        assert len(downloaded(operator, "transfer")) == 3


class TestGrant:
    def target(self, user: User) -> str:
        return f"{reverse('admin:billing_creditaccount_grant')}?account={user.id}"

    def body(self, client: Client, user: User, **changes: str) -> dict[str, str]:
        page = client.get(self.target(user))
        assert page.status_code == 200
        reference = page.context["form"]["reference"].value()
        return {"direction": "give", "amount_usd": "2.50", "reference": reference, "reason": "Goodwill", **changes}

    def test_gives_to_an_account_that_never_had_credit(self, operator: Client, boss: User) -> None:
        user = world.account()
        body = self.body(operator, user)
        answer = operator.post(self.target(user), body)
        assert said(answer) == "2.50 USD given. Balance 2.50 USD."
        assert world.money(user) == (2_500_000_000, 0)
        row = Transfer.objects.get(account_id=user.id)
        assert (row.code, row.debit, row.reason) == ("adjustment", "adjustment", "Goodwill")
        assert row.reference == f"credit:{body['reference']}"
        entry = LogEntry.objects.get(user=boss)
        assert "balance 0.00 → 2.50 USD" in entry.change_message
        assert "Goodwill" in entry.change_message
        page = operator.get(answer["Location"])
        assert self.target(user) in page.content.decode()

    def test_sent_twice_is_done_once(self, operator: Client) -> None:
        user = world.account()
        body = self.body(operator, user)
        operator.post(self.target(user), body)
        assert "already done" in said(operator.post(self.target(user), body))
        assert world.money(user) == (2_500_000_000, 0)
        assert LogEntry.objects.count() == 1

    def test_takes_what_is_available_and_says_how_much_that_is(self, operator: Client) -> None:
        user = world.account(credit=5 * world.USD)
        holds.place(world.request(user, rates=world.flat(3 * world.USD)))
        page = operator.get(self.target(user)).content.decode()
        for amount in ("5.000000000", "3.000000000", "2.000000000"):
            assert f'value="{amount}"' in page
        body = self.body(operator, user, direction="take")
        answer = operator.post(self.target(user), body)
        assert answer.status_code == 400
        assert "2.00 USD available (3.00 more are held" in answer.content.decode().replace(" USD more", "")
        assert f'value="{body["reference"]}"' in answer.content.decode()
        assert world.money(user) == (5 * world.USD, 3 * world.USD)
        assert (
            said(operator.post(self.target(user), {**body, "amount_usd": "2"})) == "2.00 USD taken. Balance 3.00 USD."
        )
        assert world.money(user) == (3 * world.USD, 3 * world.USD)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *[("amount_usd", value) for value in ("", "0", "-1", "x", "1e9", "0.0000000001", "NaN", "9" * 400)],
            *[("reason", value) for value in ("", " ", "x" * 301, "a\nb")],
            *[("reference", value) for value in ("", "x" * 191)],
            ("direction", "keep"),
        ],
    )
    def test_names_the_field_that_is_wrong_and_moves_nothing(self, operator: Client, field: str, value: str) -> None:
        user = world.account(credit=5)
        answer = operator.post(self.target(user), self.body(operator, user, **{field: value}))
        assert answer.status_code == 400
        assert list(answer.context["form"].errors) == [field]
        assert world.money(user) == (5, 0)
        assert not LogEntry.objects.exists()

    def test_refuses_a_reference_of_another_amount(self, operator: Client) -> None:
        user = world.account()
        body = self.body(operator, user)
        operator.post(self.target(user), body)
        answer = operator.post(self.target(user), {**body, "amount_usd": "3"})
        assert (answer.status_code, "used before for another amount" in answer.content.decode()) == (409, True)
        assert world.money(user) == (2_500_000_000, 0)

    def test_is_for_those_who_may(self) -> None:
        user = world.account(credit=5)
        target = self.target(user)
        client = staff("view_creditaccount")
        assert (client.get(target).status_code, client.post(target, {}).status_code) == (403, 403)
        page = client.get(reverse("admin:billing_creditaccount_change", args=[user.id]))
        assert target not in page.content.decode()

    @pytest.mark.parametrize("account", ["", "x", "01890000-0000-7000-8000-000000000000", "%00"])
    def test_of_nobody_is_not_found(self, operator: Client, account: str) -> None:
        target = reverse("admin:billing_creditaccount_grant")
        assert operator.get(f"{target}?account={account}").status_code == 404


class TestRefund:
    def target(self, topup: TopUp) -> str:
        return reverse("admin:billing_topup_refund", args=[topup.id])

    def test_takes_the_credit_back_and_says_that_the_money_is_yours_to_send(self, operator: Client, boss: User) -> None:
        user = world.account()
        topup = paid(user)
        page = operator.get(self.target(topup))
        assert page.context["form"]["amount_usd"].value() == "5.00"
        for text in (
            "no payment provider does it for you yet",
            "<dd>Paid elsewhere</dd>",
            f">…{str(user.id)[-8:]}</a>",
        ):
            assert text in page.content.decode()
        answer = operator.post(self.target(topup), {"amount_usd": "2", "reason": "Half was enough"})
        assert "2.00 USD taken back; balance 3.00 USD. Now send the money itself back the way it was paid" in said(
            answer
        )
        assert world.money(user) == (3 * world.USD, 0)
        entry = LogEntry.objects.get(user=boss)
        assert (entry.object_id, "Half was enough" in entry.change_message) == (str(topup.id), True)
        assert [row.id for row in listed(operator, "topup", refunded="yes")] == [topup.id]
        again = operator.post(self.target(topup), {"amount_usd": "2", "reason": "Clicked twice"})
        assert "nothing moved now" in said(again)
        other = operator.post(self.target(topup), {"amount_usd": "1", "reason": "More"})
        assert (other.status_code, "refunded before" in other.content.decode()) == (409, True)
        assert world.money(user) == (3 * world.USD, 0)

    def test_of_a_test_payment_leaves_nothing_to_send(self, operator: Client) -> None:
        topup = paid(world.account(), ref=f"test-{uuid7()}")
        page = operator.get(self.target(topup)).content.decode()
        assert "This was a test payment: there is no money to send." in page
        assert "you send back" not in page
        assert "Test payment" in operator.get(reverse("admin:billing_topup_changelist")).content.decode()
        answer = operator.post(self.target(topup), {"amount_usd": "5", "reason": "Tried it out"})
        assert said(answer) == (
            "5.00 USD taken back; balance 0.00 USD. It was a test payment: there is no money to send."
        )

    def test_of_a_payment_by_card_names_the_card(self, operator: Client) -> None:
        topup = paid(world.account(), ref="test-card")
        TopUp.objects.filter(id=topup.id).update(method=Party.CARD)
        answer = operator.post(self.target(topup), {"amount_usd": "5", "reason": "Paid twice"})
        assert "Now send the money itself back by Card:" in said(answer)

    @pytest.mark.parametrize(
        ("field", "value"), [("amount_usd", "0"), ("amount_usd", "5.01"), ("amount_usd", "x"), ("reason", "")]
    )
    def test_names_the_field_that_is_wrong_and_moves_nothing(self, operator: Client, field: str, value: str) -> None:
        user = world.account(credit=world.USD)
        topup = paid(user)
        answer = operator.post(self.target(topup), {"amount_usd": "1", "reason": "Asked for", field: value})
        assert (answer.status_code, list(answer.context["form"].errors)) == (400, [field])
        assert world.money(user) == (6 * world.USD, 0)

    def test_says_why_there_is_nothing_to_refund(self, operator: Client) -> None:
        user = world.account(credit=1)
        pending = TopUp.objects.create(
            account=user, amount_nanousd=1, method=Party.CARD, status=TopUpStatus.PENDING, created_at=timezone.now()
        )
        page = operator.get(self.target(pending)).content.decode()
        assert "brought no credit" in page
        answer = operator.post(self.target(pending), {"amount_usd": "0.000000001", "reason": "x"})
        assert answer.status_code == 409
        assert [row.id for row in listed(operator, "topup", status__exact="pending")] == [pending.id]
        assert [row.id for row in listed(operator, "topup", method="card_clearing")] == [pending.id]

    def test_is_for_those_who_may(self) -> None:
        user = world.account()
        topup = paid(user)
        client = staff("view_topup")
        body = {"amount_usd": "1", "reason": "x"}
        assert client.get(self.target(topup)).status_code == 403
        assert client.post(self.target(topup), body).status_code == 403
        page = client.get(reverse("admin:billing_topup_change", args=[topup.id])).content.decode()
        assert self.target(topup) not in page
        assert world.money(user) == (5 * world.USD, 0)

    @pytest.mark.parametrize("topup", ["x", "01890000-0000-7000-8000-000000000000"])
    def test_of_nothing_is_not_found(self, operator: Client, topup: str) -> None:
        assert operator.get(reverse("admin:billing_topup_refund", args=[topup])).status_code == 404

    def test_is_what_the_customer_sees(self, operator: Client) -> None:
        user = world.account()
        topup = paid(user)
        client = Client()
        client.force_login(user)
        operator.post(self.target(topup), {"amount_usd": "2", "reason": "Half was enough"})
        receipt = client.get(reverse("receipt", args=[topup.id])).content.decode()
        for text in ("Refunded in part", 'value="2.000000000"', 'value="3.000000000"'):
            assert text in receipt
        assert "Refunded in part" in client.get(reverse("billing")).content.decode()
        assert "Half was enough" in client.get(reverse("statement")).content.decode()


class TestPrices:
    def test_are_written_in_usd_and_kept_in_nano(self, operator: Client, boss: User) -> None:
        price = world.model("https://u.example/v1", name="org/gpt_4")
        target = reverse("admin:billing_price_change", args=["org_2Fgpt_5F4"])
        page = operator.get(target)
        assert page.context["adminform"].form["input_price_nanousd"].value() == "1.00"
        body = form_of(page, input_price_nanousd="0.000000005", input_cost_nanousd="0.25", output_cost_nanousd="1.9")
        assert operator.post(target, body).status_code == 302
        price.refresh_from_db()
        assert (price.input_price_nanousd, price.input_cost_nanousd) == (5, 250_000_000)
        assert (price.cached_input_price_nanousd, price.request_price_nanousd) == (None, 0)
        assert LogEntry.objects.get(user=boss).change_message == (
            "Input price: 1.00 USD → 0.000000005 USD; Input cost: empty → 0.25 USD; Output cost: empty → 1.90 USD"
        )

    def test_show_the_margin(self, operator: Client) -> None:
        world.model(
            "https://u.example/v1", name="gpt", input_cost_nanousd=950_000_001, output_cost_nanousd=3 * world.USD
        )
        page = operator.get(reverse("admin:billing_price_changelist")).content.decode()
        assert "input 4.9 %, output −50.0 %" in page

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *[("input_price_nanousd", value) for value in ("", "x", "-1", "0.0000000001", "1000000", "NaN")],
            ("input_cost_nanousd", "-1"),
            ("output_cost_nanousd", "1"),
            ("prompt_bound", "guess"),
            ("limit_field", "limit"),
            ("default_output_tokens", "0"),
        ],
    )
    def test_are_refused_as_by_the_command(self, operator: Client, field: str, value: str) -> None:
        world.model("https://u.example/v1", name="gpt")
        target = reverse("admin:billing_price_change", args=["gpt"])
        page = operator.post(target, form_of(operator.get(target), **{field: value}))
        assert page.status_code == 200
        assert list(page.context["adminform"].form.errors) == [field]
        assert Price.objects.get(model="gpt").input_price_nanousd == world.USD

    def test_are_added_with_what_a_call_needs(self, operator: Client) -> None:
        upstream = world.model("https://u.example/v1").upstream
        target = reverse("admin:billing_price_add")
        body = form_of(operator.get(target), model="new", upstream=upstream.name, input_price_nanousd="0.15")
        answer = operator.post(target, {**body, "output_price_nanousd": "0.60"})
        assert answer.status_code == 302, answer.context["adminform"].form.errors
        price = Price.objects.get(model="new")
        assert (price.input_price_nanousd, price.output_price_nanousd) == (150_000_000, 600_000_000)

    def test_that_are_suspended_say_so_and_are_served_again(self, operator: Client, boss: User) -> None:
        since = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
        world.model("https://u.example/v1", name="gpt", suspended_at=since)
        target = reverse("admin:billing_price_change", args=["gpt"])
        page = operator.get(target).content.decode()
        assert "Calls of gpt get 503" in page
        serve = reverse("admin:billing_price_serve", args=["gpt"])
        assert serve in page
        assert operator.post(target, form_of(operator.get(target), context_tokens="200000")).status_code == 302
        assert Price.objects.get(model="gpt").suspended_at == since
        assert operator.get(serve).status_code == 405
        assert "served again" in said(operator.post(serve))
        assert Price.objects.get(model="gpt").suspended_at is None
        assert "2026-11-24 09:30:00 UTC → in service" in LogEntry.objects.filter(user=boss).first().change_message
        assert "nothing changed" in said(operator.post(serve))
        assert "Calls of gpt get 503" not in operator.get(target).content.decode()
        assert staff("view_price").post(serve).status_code == 403

    def test_saved_from_an_old_page_keep_what_another_changed_meanwhile(self, operator: Client, boss: User) -> None:
        world.model("https://u.example/v1", name="gpt")
        target = reverse("admin:billing_price_change", args=["gpt"])
        old = operator.get(target)
        operator.post(target, form_of(operator.get(target), input_price_nanousd="3", context_tokens="200000"))
        assert operator.post(target, form_of(old, output_price_nanousd="4")).status_code == 302
        price = Price.objects.get(model="gpt")
        assert (price.input_price_nanousd, price.output_price_nanousd) == (3 * world.USD, 4 * world.USD)
        assert price.context_tokens == 200_000
        assert LogEntry.objects.filter(user=boss).first().change_message == "Output price: 2.00 USD → 4.00 USD"

    def test_saved_do_not_undo_a_suspension_that_came_meanwhile(self, operator: Client) -> None:
        world.model("https://u.example/v1", name="gpt")
        target = reverse("admin:billing_price_change", args=["gpt"])
        body = form_of(operator.get(target), input_price_nanousd="3")
        with mock.patch.object(Price, "full_clean", side_effect=suspend):
            assert operator.post(target, body).status_code == 302
        price = Price.objects.get(model="gpt")
        assert (price.input_price_nanousd, price.suspended_at is None) == (3 * world.USD, False)


def suspend(**how: Any) -> None:
    Price.objects.filter(model="gpt").update(suspended_at=timezone.now())


class TestUpstreams:
    def test_refuse_a_base_url_no_call_could_use(self, operator: Client) -> None:
        upstream = world.model("https://u.example/v1").upstream
        target = reverse("admin:billing_upstream_change", args=[upstream.name])
        page = operator.get(target)
        assert operator.post(target, form_of(page, base_url="ftp://u.example")).status_code == 200
        assert Upstream.objects.get(name=upstream.name).base_url == "https://u.example/v1"
        assert operator.post(target, form_of(page, timeout_seconds="30", pass_fields="top_k,min_p")).status_code == 302
        row = Upstream.objects.get(name=upstream.name)
        assert (row.timeout_seconds, row.pass_fields) == (30, ["top_k", "min_p"])

    def test_leave_the_file_of_the_key_to_superusers(self, operator: Client) -> None:
        upstream = world.model("https://u.example/v1", upstream={"api_key_file": "/run/secrets/key"}).upstream
        target = reverse("admin:billing_upstream_change", args=[upstream.name])
        client = staff("view_upstream", "change_upstream")
        body = form_of(client.get(target), timeout_seconds="30")
        assert client.post(target, {**body, "api_key_file": "/etc/other"}).status_code == 302
        row = Upstream.objects.get(name=upstream.name)
        assert (row.timeout_seconds, row.api_key_file) == (30, "/run/secrets/key")
        assert operator.post(target, form_of(operator.get(target), api_key_file="/run/new")).status_code == 302
        assert Upstream.objects.get(name=upstream.name).api_key_file == "/run/new"

    @pytest.fixture
    def probed(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
        """Stands in for the request, which has its own tests."""

        def answering(**fields: Any) -> list[Any]:
            asked: list[Any] = []

            def probe(upstream: Upstream, *, sold: list[Price]) -> upstream_probe.Probe:
                asked.append((upstream.name, [price.model for price in sold]))
                return upstream_probe.Probe(**fields)

            monkeypatch.setattr(upstream_probe, "probe", probe)
            return asked

        return answering

    def test_are_tried_out_with_their_models(
        self, operator: Client, boss: User, probed: Callable[..., list[Any]]
    ) -> None:
        upstream = world.model("https://u.example/v1", name="gpt").upstream
        test = reverse("admin:billing_upstream_test", args=[upstream.name])
        asked = probed(is_good=True, sentence="It answered.", models=tuple(f"m{i}" for i in range(25)))
        assert test in operator.get(reverse("admin:billing_upstream_change", args=[upstream.name])).content.decode()
        answer = operator.post(test)
        assert said(answer).startswith("It answered. It names m0, m1,")
        assert said(answer).endswith("m19 and 5 more.")
        assert asked == [(upstream.name, ["gpt"])]
        assert LogEntry.objects.get(user=boss).change_message == "Tested the connection. It answered."

    def test_that_are_built_in_are_reached(self, operator: Client) -> None:
        upstream = world.model("echo:", name="echo").upstream
        assert "nothing is sent anywhere" in said(
            operator.post(reverse("admin:billing_upstream_test", args=[upstream]))
        )

    def test_are_tried_out_only_by_a_post_of_those_who_may_change_them(self, probed: Callable[..., list[Any]]) -> None:
        upstream = world.model("https://u.example/v1").upstream
        test = reverse("admin:billing_upstream_test", args=[upstream.name])
        asked = probed(is_good=True, sentence="It answered.")
        assert staff("view_upstream").post(test).status_code == 403
        superuser = Client(enforce_csrf_checks=True)
        superuser.force_login(world.account(username="root", is_staff=True, is_superuser=True))
        assert superuser.get(test).status_code == 405
        assert superuser.post(test).status_code == 403
        assert asked == []


class TestAccess:
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("price/%00/change/", 302),
            ("paymentreference/%00/change/", 302),
            ("topup/%00/refund/", 404),
            ("hold/?model=%00", 302),
            ("topup/?method=%00", 302),
            ("hold/?start_date=%00", 302),
            ("hold/export/?model=%00", 302),
            ("transfer/export/?nonsense=1", 400),
            ("transfer/?reason__icontains=goodwill", 400),
            ("hold/?amount_nanousd=5", 400),
            ("hold/?e=1", 200),
            ("transfer/export/?p=999999", 200),
        ],
    )
    def test_with_what_no_row_can_have_is_no_bug(self, operator: Client, path: str, status: int) -> None:
        assert operator.get(f"/admin/billing/{path}").status_code == status

    @pytest.mark.parametrize("path", ["price/%00/serve/", "price/_5Fnone/serve/", "upstream/%00/test/"])
    def test_finds_nothing_to_do_with_what_is_not_there(self, operator: Client, path: str) -> None:
        assert operator.post(f"/admin/billing/{path}").status_code == 404

    def test_is_for_staff(self) -> None:
        client = Client()
        client.force_login(world.account(username="customer"))
        assert client.get(reverse("admin:billing_hold_changelist")).status_code == 302
