from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_admin_money")]
    operations = [migrations.RunSQL((SQL / "growth.sql").read_text(encoding="utf-8"), migrations.RunSQL.noop)]
