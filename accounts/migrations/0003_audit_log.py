from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql" / "audit_log.sql"
BACK = """
DROP TRIGGER audit_log_never_changes ON django_admin_log;
DROP FUNCTION faces_refuse_log_change();
DROP INDEX audit_log_newest, audit_log_by_object;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_indexes_for_lists"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]
    operations = [migrations.RunSQL(SQL.read_text(encoding="utf-8"), BACK)]
