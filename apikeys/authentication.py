"""The one door of both planes: who may do what, decided in the contract's order and nowhere else.

`authenticate` is a pure decision over a `Credential`. The DRF class below and the gateway only bring it what the request
says and render what it raises.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.functional import SimpleLazyObject
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request

from accounts.models import User
from apikeys import credentials, origins
from apikeys.credentials import Credential
from faces.lib.errors import FacesError


class Action(Enum):
    """What a request wants to do. Every view declares one for each of its methods, as `access = {"GET": Action.READ_KEYS}`."""

    READ_KEYS = auto()
    CREATE_KEY = auto()
    CHANGE_KEY = auto()
    REVOKE_KEY = auto()
    READ_MODELS = auto()
    SPEND = auto()
    READ_BALANCE = auto()
    READ_BILLING = auto()
    TOP_UP = auto()
    PAY_IN = auto()


PUBLIC_KEY_MAY = frozenset({Action.READ_KEYS, Action.READ_MODELS, Action.SPEND, Action.PAY_IN})
CAPPED_KEY_MAY_NOT = frozenset({Action.READ_BILLING, Action.TOP_UP})
FROZEN_JWT_MAY_NOT = frozenset({Action.SPEND, Action.CREATE_KEY})

REASONS: Mapping[str, str] = {
    "account_frozen": "This account is frozen; ask the operator of this service.",
    "key_frozen": "This key, or one above it, is frozen; unfreeze it or use another key.",
    "budget_exhausted": "What is left under this key's cap, or that of a key above it, does not pay for this call; raise the cap.",
    "budget_held": "What is left under this key's cap is held for calls still running; try again in a second.",
    "balance_exhausted": "The credit left does not pay for this call; top up the account.",
    "balance_held": "The credit left is held for calls still running; try again in a second.",
}


class Unauthorized(FacesError):
    status = 401
    code = "invalid_token"
    detail = "Missing or invalid token"

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": "Bearer"})


class OriginRefused(FacesError):
    status = 403
    code = "origin_not_allowed"
    detail = "Origin not in allowlist"


class PermissionRefused(FacesError):
    status = 403
    code = "permission_denied"
    detail = "Permission denied"


class PaymentRequired(FacesError):
    """402, always with the same body; `X-Faces-Reason` says why, and `x-should-retry` tells an SDK whether waiting helps."""

    status = 402
    detail = "Insufficient credits"

    def __init__(self, reason: str) -> None:
        self.code = reason
        held = reason.endswith("_held")
        headers = {"X-Faces-Reason": reason, "x-should-retry": "true" if held else "false"}
        if held:
            headers["Retry-After"] = "1"
        super().__init__(headers=headers)

    @property
    def explanation(self) -> str:
        """The reason in words, for SDKs that show nothing but a message."""
        return f"{self.detail}: {REASONS[self.code]}"


@dataclass(frozen=True, slots=True)
class Caller:
    """What the request's headers say of the caller: every value of each, in order."""

    authorization: Sequence[str]
    origins: Sequence[str]
    referers: Sequence[str]


def authenticate(
    *, credential: Credential | None, caller: Caller, action: Action, target_id: UUID | None = None
) -> Credential:
    """Lines 3 to 6 and 8 of the contract's precedence, in order: the credential, or the refusal that wins.

    `target_id` is the key the request names, if it names one. Raises Unauthorized, OriginRefused, PaymentRequired,
    PermissionRefused.
    """
    if credential is None or not credential.is_active or credential.is_key_revoked:
        raise Unauthorized
    if credential.allowlists:
        hostname = origins.request_hostname(caller.origins, caller.referers)
        if not all(origins.allows(entries, hostname) for entries in credential.allowlists):
            raise OriginRefused
    _refuse_frozen(credential, action, target_id)
    if not may_ever(credential, action):
        raise PermissionRefused
    if action is Action.SPEND:
        refuse_penniless(credential)
    return credential


def _refuse_frozen(credential: Credential, action: Action, target_id: UUID | None) -> None:
    if credential.kind == "jwt":
        exempt = action not in FROZEN_JWT_MAY_NOT
    else:
        exempt = action is Action.REVOKE_KEY and target_id == credential.key_id
    if exempt:
        return
    if credential.is_frozen:
        raise PaymentRequired("account_frozen")
    if credential.is_key_frozen:
        raise PaymentRequired("key_frozen")


def may_ever(credential: Credential, action: Action) -> bool:
    """The columns of the contract's permission table that do not depend on a target."""
    if credential.kind == "jwt":
        return True
    if credential.is_public:
        return action in PUBLIC_KEY_MAY
    if action is Action.TOP_UP and settings.FACES_KEY_TOPUP_DAILY == 0:
        return False
    return not (credential.is_capped and action in CAPPED_KEY_MAY_NOT)


def refuse_penniless(credential: Credential) -> None:
    """Nothing at all left, cap before balance. Raises PaymentRequired."""
    if credential.budget_unspent_nanousd is not None and credential.budget_free_nanousd is not None:
        if credential.budget_unspent_nanousd <= 0:
            raise PaymentRequired("budget_exhausted")
        if credential.budget_free_nanousd <= 0:
            raise PaymentRequired("budget_held")
    if credential.balance_nanousd <= 0:
        raise PaymentRequired("balance_exhausted")
    if credential.balance_nanousd - credential.balance_held_nanousd <= 0:
        raise PaymentRequired("balance_held")


class ApiKeyAuthentication(BaseAuthentication):
    """The door for DRF views. A view names what each of its methods does in `access`; `request.auth` is the `Credential`.

    A key in the URL (`key_id`) is the target. A method that names nothing is 405.
    """

    def authenticate(self, request: Request) -> tuple[Any, Credential]:
        view = request.parser_context["view"]
        action = view.access.get("GET" if request.method == "HEAD" else request.method)
        if action is None:
            raise MethodNotAllowed(str(request.method))
        caller = caller_of(request.META)
        credential = authenticate(
            credential=credentials.read(caller.authorization),
            caller=caller,
            action=action,
            target_id=view.kwargs.get("key_id"),
        )
        account_id = credential.account_id
        return SimpleLazyObject(lambda: User.objects.get(pk=account_id)), credential

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def caller_of(meta: Mapping[str, Any]) -> Caller:
    """The caller headers of a WSGI/ASGI environ. Django joins repeated headers with a comma, which no valid value of these
    three contains, so a repeated header is refused like any other invalid one."""

    def values(name: str) -> tuple[str, ...]:
        return () if name not in meta else (str(meta[name]),)

    return Caller(values("HTTP_AUTHORIZATION"), values("HTTP_ORIGIN"), values("HTTP_REFERER"))
