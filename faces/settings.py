"""Settings, all from the environment, in two profiles.

`development` is what `make run` uses. `production` refuses unsafe values: see `faces.checks`. Every FACES_* setting is in
the README's table.
"""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from environs import Env
from psycopg.conninfo import conninfo_to_dict

BASE_DIR = Path(__file__).resolve().parent.parent
env = Env(expand_vars=False)

FACES_PROFILE: str = env.str("FACES_PROFILE", "development")
DEVELOPMENT = FACES_PROFILE == "development"
FACES_VAR = Path(env.str("FACES_VAR", str(BASE_DIR / "var"))).resolve()

INSECURE_SECRET_KEY = "development-secret-key-never-for-production-use-0000"  # noqa: S105 - refused in production
SECRET_KEY = env.str("FACES_SECRET_KEY", INSECURE_SECRET_KEY if DEVELOPMENT else "")
VERSION = "1.0.0"
DEBUG = env.bool("FACES_DEBUG", False)
PORT = env.int("PORT", 8000)
FACES_PUBLIC_ORIGINS: list[str] = env.list(
    "FACES_PUBLIC_ORIGINS", [f"http://127.0.0.1:{PORT}", f"http://localhost:{PORT}"] if DEVELOPMENT else []
)
ALLOWED_HOSTS: list[str] = env.list("FACES_ALLOWED_HOSTS", ["*"] if DEVELOPMENT else [])

FACES_CHAIN_IDS: list[int] = env.list(
    "FACES_CHAIN_IDS", [1, 8453, 84532, *([31337] if DEVELOPMENT else [])], subcast=int
)
FACES_NONCE_SECONDS = 300
FACES_JWT_SECONDS: int = env.int("FACES_JWT_SECONDS", 900)
FACES_TEST_PAYMENTS: bool = env.bool("FACES_TEST_PAYMENTS", DEVELOPMENT)
FACES_MARKUP: Decimal = env.decimal("FACES_MARKUP", Decimal("0.05"))
FACES_TOPUP_MAX: Decimal = env.decimal("FACES_TOPUP_MAX", Decimal("10000"))
FACES_KEY_TOPUP_DAILY: Decimal = env.decimal("FACES_KEY_TOPUP_DAILY", Decimal("100"))
FACES_LOSS_LIMIT_MODEL: Decimal = env.decimal("FACES_LOSS_LIMIT_MODEL", Decimal("5"))
FACES_LOSS_LIMIT_ACCOUNT: Decimal = env.decimal("FACES_LOSS_LIMIT_ACCOUNT", Decimal("1"))
FACES_HOLD_MARGIN_SECONDS: int = env.int("FACES_HOLD_MARGIN_SECONDS", 120)
FACES_GATEWAY_CONNECTIONS: int = env.int("FACES_GATEWAY_CONNECTIONS", 20)
FACES_METRICS_TOKEN: str = env.str("FACES_METRICS_TOKEN", "")

FACES_GATE = {
    # What apikeys may not import: the names of the callables that the one door is given (see apikeys.authentication).
    "BALANCE_SQL": "billing.balances.BALANCE_SQL",
}

INSTALLED_APPS = [
    "faces.admin_apps.OperationsConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "procrastinate.contrib.django",
    "faces",
    "accounts",
    "apikeys",
    "billing",
    "django.forms",
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

MIDDLEWARE = [
    "faces.middleware.request_id",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "faces.middleware.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "faces.urls"
ASGI_APPLICATION = "faces.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "billing.context.account",
            ]
        },
    }
]


def database(url: str) -> dict[str, Any]:
    """Django's database settings for a PostgreSQL URL or conninfo string; what it does not name goes to OPTIONS."""
    parts = conninfo_to_dict(url)
    named = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    settings: dict[str, Any] = {name: str(parts.pop(key, None) or "") for name, key in named.items()}
    pool = {
        "min_size": env.int("FACES_DATABASE_POOL_MIN", 1),
        "max_size": env.int("FACES_DATABASE_POOL_MAX", 20),
        "timeout": 30,
    }
    return {"ENGINE": "django.db.backends.postgresql", **settings, "OPTIONS": {**parts, "pool": pool}}


DATABASE_URL: str = env.str("DATABASE_URL", "")
if not DATABASE_URL and DEVELOPMENT:
    from faces.development import postgres

    DATABASE_URL = postgres.ensure_running(FACES_VAR)
DATABASES = {"default": database(DATABASE_URL)}
if env.str("FACES_TEST_DB", ""):
    DATABASES["default"]["TEST"] = {"NAME": env.str("FACES_TEST_DB")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "jobs"

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = ["faces.formats"]
STATIC_URL = "/static/"
STATIC_ROOT = FACES_VAR / "static"
WHITENOISE_USE_FINDERS = DEVELOPMENT
WHITENOISE_AUTOREFRESH = DEBUG

LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEVELOPMENT
CSRF_TRUSTED_ORIGINS = FACES_PUBLIC_ORIGINS
SECURE_HSTS_SECONDS = 0 if DEVELOPMENT else env.int("FACES_HSTS_SECONDS", 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEVELOPMENT
SECURE_SSL_REDIRECT = env.bool("FACES_SSL_REDIRECT", not DEVELOPMENT)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Every answer of the two API prefixes may be read by any web page, and never carries a cookie: credentials are explicit.
CORS_URLS_REGEX = r"^/(v1|auth)(/|$)"
CORS_ALLOW_ALL_ORIGINS = True
CORS_EXPOSE_HEADERS = [
    "X-Faces-Reason",
    "X-Faces-Output-Limit",
    "X-Request-Id",
    "Retry-After",
    "x-should-retry",
    "WWW-Authenticate",
    "PAYMENT-REQUIRED",
    "PAYMENT-RESPONSE",
]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apikeys.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_PARSER_CLASSES": ["faces.lib.wire.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["faces.lib.wire.MoneyJSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "faces.api_errors.handle",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    # What `/api/schema?version=` may say; it stands in the name of the file.
    "ALLOWED_VERSIONS": [VERSION],
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=FACES_JWT_SECONDS),
    "ALGORITHM": "HS256",
    "SIGNING_KEY": SECRET_KEY,
    "USER_ID_FIELD": "id",
    "USER_ID_CLAIM": "user_id",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Faces",
    "DESCRIPTION": "A front door on paid AI endpoints: wallet sign-in, prepaid credit, keys with hard caps.",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "faces.openapi.add_gateway",
        "faces.openapi.close_requests",
    ],
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": env.str("FACES_LOG_LEVEL", "INFO")},
    "loggers": {"procrastinate": {"level": "WARNING"}},
}
