-- The money operations. `place` and `extend` are in growth.sql, `settle` in settle.sql, where later migrations made them anew.
-- Each is one autocommit call with the account first, and locks credit account → keys (root ancestor first) → hold → account
-- row → price, in that order, so that no two of them can wait for each other in a circle. p_now is null in service: the
-- database's clock is then the one clock of all processes. Tests pass their own. p_transfer is null too: id and time of a
-- transfer are taken under the account's lock, so that both follow the order of the ledger.

-- What is still free under the caps of a chain of keys, and what would be with nothing in flight; null where no key has a cap.
CREATE FUNCTION faces_lock_keys(
    p_account uuid, p_key_ids uuid[],
    OUT found int, OUT revoked boolean, OUT frozen boolean, OUT free numeric, OUT unspent numeric
) LANGUAGE sql AS $$
    SELECT count(*)::int, coalesce(bool_or(k.revoked_at IS NOT NULL), false), coalesce(bool_or(k.is_frozen), false),
           min(k.budget_nanousd::numeric - k.spent_nanousd - k.held_nanousd), min(k.budget_nanousd::numeric - k.spent_nanousd)
    FROM (SELECT * FROM apikeys_apikey WHERE account_id = p_account AND id = ANY (p_key_ids)
          ORDER BY cardinality(ancestor_ids), id FOR NO KEY UPDATE) k
$$;

-- An account past its loss limit today is frozen, a model past its own is suspended, until an operator looks.
CREATE FUNCTION faces_enforce_loss_limits(
    p_account uuid, p_model text, p_now timestamptz, p_account_limit bigint, p_model_limit bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_day timestamptz := date_trunc('day', p_now, 'UTC');
BEGIN
    IF (SELECT sum(lost_nanousd) FROM billing_hold WHERE account_id = p_account AND lost_nanousd > 0
        AND coalesce(late_at, resolved_at) >= v_day) > p_account_limit THEN
        UPDATE accounts_user SET is_frozen = true, frozen_reason = 'Losses passed the daily limit of an account'
            WHERE id = p_account AND NOT is_frozen;
    END IF;
    -- One losing call of a model after the other: of two at once, neither would see what the other lost.
    PERFORM 1 FROM billing_price WHERE model = p_model FOR NO KEY UPDATE;
    IF (SELECT sum(lost_nanousd) FROM billing_hold WHERE model = p_model AND lost_nanousd > 0
        AND coalesce(late_at, resolved_at) >= v_day) > p_model_limit THEN
        UPDATE billing_price SET suspended_at = p_now WHERE model = p_model AND suspended_at IS NULL;
    END IF;
END $$;

-- End an overdue hold without a charge. The hold is read again under the lock: a settlement that came first wins.
CREATE FUNCTION faces_hold_expire(p_account uuid, p_hold uuid, p_now timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_key_ids uuid[];
    v_hold billing_hold;
BEGIN
    PERFORM 1 FROM billing_creditaccount WHERE account_id = p_account FOR NO KEY UPDATE;
    SELECT key_ids INTO v_key_ids FROM billing_hold WHERE account_id = p_account AND id = p_hold;
    PERFORM faces_lock_keys(p_account, v_key_ids);
    SELECT * INTO v_hold FROM billing_hold WHERE account_id = p_account AND id = p_hold FOR NO KEY UPDATE;
    IF v_hold.status IS DISTINCT FROM 'pending' OR v_hold.expires_at > v_now THEN
        RETURN false;
    END IF;
    UPDATE billing_creditaccount SET held_nanousd = held_nanousd - v_hold.amount_nanousd WHERE account_id = p_account;
    UPDATE apikeys_apikey SET held_nanousd = held_nanousd - v_hold.amount_nanousd
        WHERE account_id = p_account AND id = ANY (v_key_ids);
    UPDATE billing_hold SET status = 'expired', outcome = 'expired', resolved_at = v_now
        WHERE account_id = p_account AND id = p_hold;
    RETURN true;
END $$;

-- Move p_amount into (positive) or out of (negative) the customer's credit, once per reference.
-- state: posted, replayed (same reference and amount before), conflict (same reference, other amount), insufficient.
CREATE FUNCTION faces_ledger_post(
    p_account uuid, p_transfer uuid, p_amount bigint, p_counterparty text, p_code text, p_reference text, p_reason text,
    p_now timestamptz, OUT state text, OUT transfer uuid, OUT balance bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_credit billing_creditaccount;
    v_before billing_transfer;
BEGIN
    INSERT INTO billing_creditaccount (account_id, balance_nanousd, held_nanousd) VALUES (p_account, 0, 0)
        ON CONFLICT (account_id) DO NOTHING;
    SELECT * INTO v_credit FROM billing_creditaccount WHERE account_id = p_account FOR NO KEY UPDATE;
    balance := v_credit.balance_nanousd;
    SELECT t.* INTO v_before FROM billing_transferreference r
        JOIN billing_transfer t ON t.account_id = r.account_id AND t.id = r.transfer_id
        WHERE r.account_id = p_account AND r.reference = p_reference;
    IF v_before.id IS NOT NULL THEN
        transfer := v_before.id;
        state := CASE WHEN v_before.amount_nanousd = abs(p_amount) AND v_before.code = p_code
            AND (v_before.credit = 'customer') = (p_amount > 0) THEN 'replayed' ELSE 'conflict' END;
        RETURN;
    END IF;
    IF v_credit.balance_nanousd - v_credit.held_nanousd + p_amount < 0 THEN
        state := 'insufficient';
        RETURN;
    END IF;
    state := 'posted';
    transfer := coalesce(p_transfer, uuidv7());
    balance := balance + p_amount;
    UPDATE billing_creditaccount SET balance_nanousd = faces_ledger_post.balance WHERE account_id = p_account;
    INSERT INTO billing_transferreference (account_id, reference, transfer_id) VALUES (p_account, p_reference, transfer);
    INSERT INTO billing_transfer (id, account_id, amount_nanousd, debit, credit, code, reference, reason, hold_id,
        balance_after_nanousd, created_at)
        VALUES (transfer, p_account, abs(p_amount), CASE WHEN p_amount > 0 THEN p_counterparty ELSE 'customer' END,
        CASE WHEN p_amount > 0 THEN 'customer' ELSE p_counterparty END, p_code, p_reference, p_reason, NULL, balance,
        coalesce(p_now, clock_timestamp()));
END $$;
