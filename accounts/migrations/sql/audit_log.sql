-- The audit log is Django's admin log. Its operator and kind have an index of Django's; these are for its order and for one
-- object's history.
CREATE INDEX audit_log_newest ON django_admin_log (action_time DESC, id DESC);
CREATE INDEX audit_log_by_object ON django_admin_log (object_id, action_time);

-- Forgetting a kind of object that no longer exists (remove_stale_contenttypes) is the one change allowed.
CREATE FUNCTION faces_refuse_log_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.content_type_id IS NULL
           AND (NEW.id, NEW.action_time, NEW.user_id, NEW.object_id, NEW.object_repr, NEW.action_flag, NEW.change_message)
               IS NOT DISTINCT FROM
               (OLD.id, OLD.action_time, OLD.user_id, OLD.object_id, OLD.object_repr, OLD.action_flag, OLD.change_message)
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_log_never_changes BEFORE UPDATE OR DELETE ON django_admin_log
    FOR EACH ROW EXECUTE FUNCTION faces_refuse_log_change();
