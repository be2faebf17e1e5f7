from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing import price_import, prices
from billing.management.options import plain, sentences, usd
from billing.models import Price, Upstream
from billing.price_import import ImportRefused, Published
from faces.lib.errors import InvalidInput
from faces.lib.money import usd_text

FIELDS = {
    "input_usd": "input_price_nanousd",
    "output_usd": "output_price_nanousd",
    "cached_input_usd": "cached_input_price_nanousd",
    "cache_write_usd": "cache_write_price_nanousd",
    "request_usd": "request_price_nanousd",
    "context": "context_tokens",
    "max_output": "max_output_tokens",
    "default_output": "default_output_tokens",
    "upstream_model": "upstream_model",
    "limit_field": "limit_field",
    "prompt_bound": "prompt_bound",
    "visible_output": "visible_output",
}


class Command(BaseCommand):
    help = (
        "Sets what a customer pays for a model, in USD per million tokens, and where it is routed. What is not named stays as "
        "it is; a model suspended for losses is served again. With --import the price is the one that the upstream's provider "
        "publishes × (1 + FACES_MARKUP), kept with what it costs you; the data is in the genai-prices package, nothing is "
        "downloaded. Prices named beside --import win over the published ones."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", type=plain, help="the name customers ask for")
        parser.add_argument("--upstream", type=plain, help="where it is routed")
        parser.add_argument("--input-usd", type=usd, metavar="N", help="per million prompt tokens")
        parser.add_argument("--output-usd", type=usd, metavar="N", help="per million output tokens")
        parser.add_argument(
            "--cached-input-usd", type=usd, metavar="N", help="prompt tokens from a cache; as input if never set"
        )
        parser.add_argument(
            "--cache-write-usd", type=usd, metavar="N", help="prompt tokens put in a cache; as input if never set"
        )
        parser.add_argument("--request-usd", type=usd, metavar="N", help="per call, beside the tokens")
        parser.add_argument("--context", type=int, metavar="N", help="tokens of prompt and answer together")
        parser.add_argument("--max-output", type=int, metavar="N", help="the most output tokens it can give")
        parser.add_argument("--default-output", type=int, metavar="N", help="the limit of a call that names none")
        parser.add_argument("--upstream-model", metavar="ID", type=plain, help="its name at the upstream, if another")
        parser.add_argument(
            "--limit-field", metavar="NAME", help="max_tokens or max_completion_tokens, as it understands"
        )
        parser.add_argument(
            "--prompt-bound", metavar="HOW", help="bytes, or the name of its exact tokenizer, such as o200k"
        )
        parser.add_argument(
            "--visible-output", action="store_true", default=None, help="it shows all the output it bills for"
        )

        parser.add_argument(
            "--import",
            action="store_true",
            dest="is_import",
            help="take the published price; refuses one it cannot say",
        )
        parser.add_argument(
            "--provider",
            metavar="ID",
            type=plain,
            help="whose published price --import takes, where neither the upstream's address nor its name tells",
        )

    def handle(self, *args: Any, model: str, upstream: str | None, is_import: bool, **options: Any) -> None:
        changes = {field: options[name] for name, field in FIELDS.items() if options[name] is not None}
        if upstream is not None:
            if not Upstream.objects.filter(name=upstream).exists():
                raise CommandError(f"There is no upstream {upstream!r}; add it with `manage.py upstream {upstream} …`")
            changes["upstream_id"] = upstream
        published: Published | None = None
        if is_import:
            published = self._find(model, changes, options["provider"], now=timezone.now())
            changes = {**self._imported(model, changes, published), **changes}
        elif options["provider"] is not None:
            raise CommandError("--provider says whose published price to take: it needs --import", returncode=2)
        if not Price.objects.filter(model=model).exists():
            needed = {
                "--upstream": "upstream_id",
                "--input-usd": FIELDS["input_usd"],
                "--output-usd": FIELDS["output_usd"],
            }
            missing = [option for option, field in needed.items() if field not in changes]
            if missing:
                raise CommandError(f"{model!r} is new: it needs {', '.join(missing)}", returncode=2)
        try:
            price, is_new = prices.save(model=model, changes=changes)
        except InvalidInput as error:
            raise CommandError(sentences(error), returncode=2) from None
        self.stdout.write(f"Price of {price.model} on {price.upstream_id}: {'added' if is_new else 'changed'}")
        if published is not None:
            self._say(price, published)

    @staticmethod
    def _find(model: str, changes: dict[str, Any], provider: str | None, *, now: datetime) -> Published:
        known = Price.objects.filter(model=model).first()
        name = changes.get("upstream_id") or (None if known is None else known.upstream_id)
        if name is None:
            raise CommandError(f"{model!r} is new: --import needs --upstream", returncode=2)
        there = changes.get("upstream_model", "" if known is None else known.upstream_model) or model
        base_url = Upstream.objects.values_list("base_url", flat=True).get(name=name)
        try:
            return price_import.find(model=there, upstream=name, base_url=base_url, provider=provider, now=now)
        except ImportRefused as error:
            raise CommandError(sentences(error)) from None

    @staticmethod
    def _imported(model: str, changes: dict[str, Any], published: Published) -> dict[str, Any]:
        imported: dict[str, Any] = {**published.costs(), **published.prices(settings.FACES_MARKUP)}
        if published.context_tokens is not None:
            imported["context_tokens"] = published.context_tokens
        elif "context_tokens" not in changes and not Price.objects.filter(model=model).exists():
            raise CommandError(
                f"{published.provider} publishes a price for {published.model}, but not how many tokens it takes; "
                "say --context N, so that no prompt can cost more than is held for it"
            )
        return imported

    def _say(self, price: Price, published: Published) -> None:
        self.stdout.write(
            f"Published by {published.provider} for {published.model}; FACES_MARKUP {settings.FACES_MARKUP}"
        )
        for kind in ("input", "output", "cached_input", "cache_write", "request"):
            paid, cost = getattr(price, f"{kind}_price_nanousd"), getattr(price, f"{kind}_cost_nanousd")
            if paid is not None and (kind != "request" or paid or cost):
                unit = "a call" if kind == "request" else "a million tokens"
                known = "as input" if cost is None else f"{usd_text(cost)} USD"
                self.stdout.write(f"  {kind.replace('_', ' ')}: {usd_text(paid)} USD {unit}, costs you {known}")
