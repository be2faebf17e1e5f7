from django.contrib.admin.apps import AdminConfig


class OperationsConfig(AdminConfig):
    """Django's admin, with a site of ours as the default one."""

    default_site = "faces.admin_site.OperationsSite"
