"""The people of the admin's tests: a superuser, a member of each role, a customer. Each is a browser with an account."""

from dataclasses import dataclass

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client

from accounts.groups import Role
from accounts.models import User


@dataclass(frozen=True)
class Person:
    account: User
    browser: Client


def _signed_in(account: User) -> Person:
    browser = Client()
    browser.force_login(account)
    return Person(account, browser)


def superuser() -> Person:
    return _signed_in(User.objects.create_user(is_staff=True, is_superuser=True))


def member(role: Role) -> Person:
    account = User.objects.create_user(is_staff=True)
    account.groups.add(Group.objects.get(name=role))
    return _signed_in(account)


def customer() -> Person:
    return _signed_in(User.objects.create_user())


def log(row: object) -> list[tuple[object, str]]:
    """(operator, what) of the audit log's entries about a row, oldest first."""
    entries = LogEntry.objects.filter(object_id=str(row.pk)).order_by("id")  # type: ignore[attr-defined]
    return [(entry.user, entry.get_change_message()) for entry in entries]
