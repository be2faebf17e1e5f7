"""What models cost and where they go: edited with the commands' own checks, tried out, and taken into service again."""

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import NON_FIELD_ERRORS
from django.core.validators import MinValueValidator
from django.db.models import Field
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from billing import prices, upstream_probe, upstreams
from billing.admin import actions, columns
from billing.models import Price, Upstream
from billing.tokenizers import BYTES, TOKENIZERS
from faces.lib.admin import BoundedAdmin
from faces.lib.errors import InvalidInput
from faces.lib.money import usd_text

KINDS: Final = {
    "input": ("Input", "For a million tokens of the prompt."),
    "output": ("Output", "For a million tokens of the answer, hidden reasoning included."),
    "cached_input": ("Cached input", "For a million prompt tokens it had in its cache. Empty: as input."),
    "cache_write": ("Cache write", "For a million prompt tokens it puts into its cache. Empty: as input."),
    "request": ("Per call", "For each call, whatever it uses, once."),
}
MOST_NAMED: Final = 20


class CheckedForm(forms.ModelForm):  # type: ignore[type-arg]
    """Asks the domain whether the row may be saved. What the page showed is sent along with it, so that a field which only
    somebody else changed meanwhile does not count as changed here."""

    checks: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = kwargs.get("instance") is not None

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            self.checks.check(self.instance)
        except InvalidInput as error:
            detail = error.detail
            problems = {NON_FIELD_ERRORS: [detail]} if isinstance(detail, str) else detail
            for field, sentences in problems.items():
                self.add_error(field if field in self.fields else None, sentences)


class UpstreamForm(CheckedForm):
    checks = upstreams


class PriceForm(CheckedForm):
    checks = prices
    limit_field = forms.ChoiceField(
        choices=[(name, name) for name in prices.LIMIT_FIELDS],
        initial=prices.LIMIT_FIELDS[0],
        help_text="The field in which this model is told how much it may answer.",
    )
    prompt_bound = forms.ChoiceField(
        choices=[(name, name) for name in (BYTES, *sorted(TOKENIZERS))],
        initial=BYTES,
        help_text="How a prompt's most is counted before the call: by its bytes, always right, or by the model's exact "
        "tokenizer, closer. A wrong tokenizer here holds too little.",
    )


class RoutingAdmin(BoundedAdmin):
    """Rows an operator edits. Only what was changed on the page is written, so that a save never undoes what happened
    meanwhile, and the log says what it was and what it is."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.save(force_insert=True)
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        if add:
            return super().construct_change_message(request, form, formsets, add)
        return "; ".join(
            f"{_title(form, name)}: {_shown(form, name, form.initial.get(name))} → "
            f"{_shown(form, name, form.cleaned_data[name])}"
            for name in form.changed_data
        )


def is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def _title(form: Any, name: str) -> str:
    kind = next((f" {kind}" for kind in ("price", "cost") if name.endswith(f"_{kind}_nanousd")), "")
    return f"{form.fields[name].label}{kind}"


def _shown(form: Any, name: str, value: Any) -> str:
    if value is None or value in ("", []):
        return "empty"
    if isinstance(form.fields[name], columns.UsdField):
        return f"{usd_text(value)} USD"
    return ", ".join(value) if isinstance(value, list) else str(value)


@admin.register(Upstream)
class UpstreamAdmin(RoutingAdmin):
    form = UpstreamForm
    change_form_template = "admin/billing/upstream.html"
    list_display = ("name", "base_url", "on_hangup", "timeout_seconds", "is_enabled")
    search_fields = ("name", "base_url")
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "base_url", "is_enabled")}),
        (
            "Its API key",
            {
                "fields": ("api_key_env", "api_key_file"),
                "description": "Where the key is, never the key itself: a variable of the service's environment, or a file "
                "that is read again when it changes. Name one, or none if it needs no key.",
            },
        ),
        ("Calls", {"fields": ("timeout_seconds", "on_hangup", "pass_fields")}),
    )
    labels: ClassVar[dict[str, str]] = {
        "base_url": "Base URL",
        "is_enabled": "In use",
        "api_key_env": "Environment variable",
        "api_key_file": "File",
        "timeout_seconds": "Deadline in seconds",
        "on_hangup": "When a client hangs up",
        "pass_fields": "Further fields",
    }
    helps: ClassVar[dict[str, str]] = {
        "base_url": "As an OpenAI client would be given it, for example https://api.openai.com/v1.",
        "is_enabled": "When off, its models are not found (404) and nothing is sent to it.",
        "api_key_env": "For example OPENAI_API_KEY.",
        "api_key_file": "A path on the machines the service runs on.",
        "timeout_seconds": "A call's deadline. What it holds stays held a little longer than that if the process dies.",
        "on_hangup": "Cancel only if it then stops billing, and shows all the output it bills for.",
        "pass_fields": "Of a request, to be let through, separated by commas. None of them may cost money.",
    }

    def get_readonly_fields(self, request: HttpRequest, obj: Upstream | None = None) -> tuple[str, ...]:
        """The file is for who may read it anyway: named by another, any line on the machine would leave as a key."""
        name = () if obj is None else ("name",)
        return name if is_superuser(request) else (*name, "api_key_file")

    def formfield_for_dbfield(self, db_field: "Field[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.helps:
            kwargs |= {"help_text": self.helps[db_field.name], "label": self.labels[db_field.name]}
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        test = self.admin_site.admin_view(self.test)
        return [path("<path:object_id>/test/", test, name="billing_upstream_test"), *super().get_urls()]

    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One real request to it, with its stored secret, outside any transaction; the result is a message and in the log."""
        actions.require(request, "billing.change_upstream")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        upstream = self.get_object(request, unquote(object_id))
        if upstream is None:
            raise Http404
        result = upstream_probe.probe(upstream, sold=list(upstream.prices.order_by("model")))
        said = result.sentence
        if result.models:
            more = len(result.models) - MOST_NAMED
            said += f" It names {', '.join(result.models[:MOST_NAMED])}{f' and {more} more' if more > 0 else ''}."
        self.log_change(request, upstream, f"Tested the connection. {result.sentence}")
        messages.add_message(request, messages.SUCCESS if result.is_good else messages.WARNING, said)
        return HttpResponseRedirect(reverse("admin:billing_upstream_change", args=[quote(upstream.pk)]))


@admin.register(Price)
class PriceAdmin(RoutingAdmin):
    form = PriceForm
    change_form_template = "admin/billing/price.html"
    list_display = ("model", "upstream_link", "input_usd", "output_usd", "margin", "prompt_bound", "suspended_at")
    search_fields = ("model", "upstream__name")
    ordering = ("model",)
    readonly_fields = ("margin", "suspended_at")
    input_usd = columns.usd("input_price_nanousd", "Input, USD a million")
    output_usd = columns.usd("output_price_nanousd", "Output, USD a million")
    fieldsets = (
        (None, {"fields": ("model", "upstream", "upstream_model")}),
        ("What customers pay, in USD", {"fields": tuple(f"{kind}_price_nanousd" for kind in KINDS)}),
        (
            "What you pay, in USD",
            {
                "fields": (*(f"{kind}_cost_nanousd" for kind in KINDS), "margin"),
                "description": "For the morning page; customers never see it. Leave input and output empty if you do not "
                "know: then the cost of its calls is unknown, not zero.",
            },
        ),
        (
            "Limits",
            {
                "fields": (
                    *("context_tokens", "max_output_tokens", "default_output_tokens"),
                    *("limit_field", "prompt_bound", "visible_output"),
                )
            },
        ),
        ("State", {"fields": ("suspended_at",)}),
    )
    helps: ClassVar[dict[str, str]] = {
        "model": "The name customers call it by.",
        "upstream": "Where its calls go.",
        "upstream_model": "Its name there. Empty: the same.",
        "context_tokens": "The most tokens of prompt and answer together.",
        "max_output_tokens": "The most tokens one answer may have.",
        "default_output_tokens": "The output limit of a call that names none. What is held for a call follows from it.",
        "visible_output": "It shows all the output it bills for; then what arrived is what a broken call cost.",
    }

    @admin.display(description="upstream")
    def upstream_link(self, row: Price) -> SafeString:
        return columns.row_of("upstream", row.upstream_id)

    @admin.display(description="margin")
    def margin(self, row: Price) -> str | None:
        """Of input and output, in percent of the price, cut to tenths downwards."""
        shown = []
        for kind in ("input", "output"):
            price, cost = getattr(row, f"{kind}_price_nanousd"), getattr(row, f"{kind}_cost_nanousd")
            if price and cost is not None:
                tenths = (price - cost) * 1000 // price
                shown.append(f"{kind} {'−' if tenths < 0 else ''}{abs(tenths) // 10}.{abs(tenths) % 10} %")
        return ", ".join(shown) or None

    def get_readonly_fields(self, request: HttpRequest, obj: Price | None = None) -> tuple[str, ...]:
        return ("margin", "suspended_at") if obj is None else ("model", "margin", "suspended_at")

    def formfield_for_dbfield(self, db_field: "Field[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        kind, _, _ = db_field.name.rpartition("_nanousd")[0].rpartition("_")
        if kind in KINDS:
            label, help_text = KINDS[kind]
            return columns.UsdField(
                label=label,
                help_text=help_text,
                required=not db_field.blank,
                initial=db_field.get_default(),
                validators=[MinValueValidator(0, "Write an amount from 0, for example 2.50.")],
            )
        if db_field.name in self.helps:
            kwargs["help_text"] = self.helps[db_field.name]
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        serve = self.admin_site.admin_view(self.serve)
        return [path("<path:object_id>/serve/", serve, name="billing_price_serve"), *super().get_urls()]

    def serve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End a suspension for losses."""
        actions.require(request, "billing.change_price")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        price = self.get_object(request, unquote(object_id))
        if price is None:
            raise Http404
        since = price.suspended_at
        if prices.serve(model=price.model) and since is not None:
            self.log_change(
                request, price, f"Served again: suspended since {since:%Y-%m-%d %H:%M:%S} UTC → in service."
            )
            messages.success(request, f"{price.model} is served again, within two seconds everywhere.")
        else:
            messages.info(request, f"{price.model} is in service already; nothing changed.")
        return HttpResponseRedirect(reverse("admin:billing_price_change", args=[quote(price.pk)]))
