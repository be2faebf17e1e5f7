-- The money operations. Each is one autocommit call with the account first, and locks credit account → keys (root ancestor
-- first) → hold → account row → price, in that order, so that no two of them can wait for each other in a circle.
-- p_now is null in service: the database's clock is then the one clock of all processes. Tests pass their own. p_transfer is
-- null too: id and time of a transfer are taken under the account's lock, so that both follow the order of the ledger.

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

-- (Replaced in growth.sql.) Place a hold of p_fixed + p_per_output × limit (both in nano-USD × 10⁶, rounded up once). The limit is lowered to what the
-- free money buys, never below p_lowest. Answers one row: reason '' and the amount and limit used, or why not.
-- Divided with div(), which is exact: the operator / keeps 16 significant digits and rounds them, either way.
CREATE FUNCTION faces_hold_place(
    p_account uuid, p_hold uuid, p_key_ids uuid[], p_fixed numeric, p_per_output numeric, p_limit bigint, p_lowest bigint,
    p_life interval, p_now timestamptz, p_request_id text, p_model text, p_upstream text, p_input_price bigint,
    p_output_price bigint, p_cached_input_price bigint, p_cache_write_price bigint, p_request_price bigint,
    p_prompt_bound bigint, p_choices int,
    OUT reason text, OUT amount bigint, OUT output_limit bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz := coalesce(p_now, clock_timestamp());
    v_credit billing_creditaccount;
    v_keys record;
    v_account record;
    v_lowest numeric := div(p_fixed + p_per_output * p_lowest + 999999, 1000000);
    v_full numeric := div(p_fixed + p_per_output * p_limit + 999999, 1000000);
    v_free numeric;
BEGIN
    SELECT * INTO v_credit FROM billing_creditaccount WHERE account_id = p_account FOR NO KEY UPDATE;
    SELECT * INTO v_keys FROM faces_lock_keys(p_account, p_key_ids);
    SELECT u.is_frozen, u.is_active INTO v_account FROM accounts_user u WHERE u.id = p_account;
    v_free := coalesce(v_credit.balance_nanousd - v_credit.held_nanousd, 0);
    reason := CASE
        WHEN v_account.is_active IS NOT TRUE OR v_keys.revoked OR v_keys.found <> cardinality(p_key_ids) THEN 'revoked'
        WHEN v_account.is_frozen THEN 'account_frozen'
        WHEN v_keys.frozen THEN 'key_frozen'
        WHEN v_keys.unspent <= 0 OR v_keys.unspent < v_lowest THEN 'budget_exhausted'
        WHEN v_keys.free <= 0 OR v_keys.free < v_lowest THEN 'budget_held'
        WHEN v_credit.balance_nanousd IS NULL OR v_credit.balance_nanousd <= 0 OR v_credit.balance_nanousd < v_lowest
            THEN 'balance_exhausted'
        WHEN v_free <= 0 OR v_free < v_lowest THEN 'balance_held'
        ELSE '' END;
    IF reason <> '' THEN
        RETURN;
    END IF;
    v_free := least(v_free, v_keys.free);
    IF v_full <= v_free THEN
        output_limit := p_limit;
    ELSE
        output_limit := least(p_limit, div(v_free * 1000000 - p_fixed, p_per_output));
    END IF;
    amount := div(p_fixed + p_per_output * output_limit + 999999, 1000000);

    UPDATE billing_creditaccount SET held_nanousd = held_nanousd + amount WHERE account_id = p_account;
    UPDATE apikeys_apikey SET held_nanousd = held_nanousd + amount, last_used_at = v_now
        WHERE account_id = p_account AND id = ANY (p_key_ids);
    INSERT INTO billing_hold (
        id, account_id, key_id, key_ids, request_id, model, upstream, status, outcome, amount_nanousd, charged_nanousd,
        lost_nanousd, input_price_nanousd, output_price_nanousd, cached_input_price_nanousd, cache_write_price_nanousd,
        request_price_nanousd, prompt_bound_tokens, output_limit_tokens, choices, input_tokens, cached_input_tokens,
        cache_write_tokens, output_tokens, is_counted, placed_at, expires_at)
    VALUES (
        p_hold, p_account, p_key_ids[cardinality(p_key_ids)], p_key_ids, p_request_id, p_model, p_upstream, 'pending', '',
        amount, 0, 0, p_input_price, p_output_price, p_cached_input_price, p_cache_write_price, p_request_price,
        p_prompt_bound, output_limit, p_choices, 0, 0, 0, 0, false, v_now, v_now + p_life);
END $$;

-- (Replaced in growth.sql.) Raise a pending hold by p_raise, whole or not at all. Looks only at money: a call already running may finish.
CREATE FUNCTION faces_hold_extend(
    p_account uuid, p_hold uuid, p_raise bigint, p_output_limit bigint, OUT reason text, OUT amount bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_credit billing_creditaccount;
    v_keys record;
    v_key_ids uuid[];
    v_hold billing_hold;
BEGIN
    SELECT * INTO v_credit FROM billing_creditaccount WHERE account_id = p_account FOR NO KEY UPDATE;
    SELECT key_ids INTO v_key_ids FROM billing_hold WHERE account_id = p_account AND id = p_hold;
    SELECT * INTO v_keys FROM faces_lock_keys(p_account, v_key_ids);
    SELECT * INTO v_hold FROM billing_hold WHERE account_id = p_account AND id = p_hold FOR NO KEY UPDATE;
    amount := v_hold.amount_nanousd;
    reason := CASE
        WHEN v_hold.status IS DISTINCT FROM 'pending' THEN 'not_pending'
        WHEN p_raise < 0 THEN 'negative'
        WHEN v_keys.unspent < p_raise + v_hold.amount_nanousd THEN 'budget_exhausted'
        WHEN v_keys.free < p_raise THEN 'budget_held'
        WHEN v_credit.balance_nanousd < p_raise + v_hold.amount_nanousd THEN 'balance_exhausted'
        WHEN v_credit.balance_nanousd - v_credit.held_nanousd < p_raise THEN 'balance_held'
        ELSE '' END;
    IF reason <> '' THEN
        RETURN;
    END IF;
    amount := amount + p_raise;
    UPDATE billing_creditaccount SET held_nanousd = held_nanousd + p_raise WHERE account_id = p_account;
    UPDATE apikeys_apikey SET held_nanousd = held_nanousd + p_raise WHERE account_id = p_account AND id = ANY (v_key_ids);
    UPDATE billing_hold SET amount_nanousd = faces_hold_extend.amount, output_limit_tokens = p_output_limit
        WHERE account_id = p_account AND id = p_hold;
END $$;

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

-- (Replaced in settle.sql.) Settle a hold to p_cost. What the hold does not cover is charged as far as every cap and the balance allow; the rest is lost.
-- state: settled (now), already (it was, before), late (it had ended without a charge: the whole cost is booked as loss),
-- unknown (no such hold). p_status 'released' with p_cost 0 gives everything back.
CREATE FUNCTION faces_hold_settle(
    p_account uuid, p_hold uuid, p_transfer uuid, p_status text, p_outcome text, p_cost bigint, p_input bigint,
    p_cached_input bigint, p_cache_write bigint, p_output bigint, p_counted boolean, p_now timestamptz,
    p_account_loss_limit bigint, p_model_loss_limit bigint,
    OUT state text, OUT charged bigint, OUT lost bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_now timestamptz;
    v_transfer uuid;
    v_credit billing_creditaccount;
    v_keys record;
    v_key_ids uuid[];
    v_hold billing_hold;
BEGIN
    SELECT * INTO v_credit FROM billing_creditaccount WHERE account_id = p_account FOR NO KEY UPDATE;
    v_now := coalesce(p_now, clock_timestamp());
    v_transfer := coalesce(p_transfer, uuidv7());
    SELECT key_ids INTO v_key_ids FROM billing_hold WHERE account_id = p_account AND id = p_hold;
    SELECT * INTO v_keys FROM faces_lock_keys(p_account, coalesce(v_key_ids, '{}'));
    SELECT * INTO v_hold FROM billing_hold WHERE account_id = p_account AND id = p_hold FOR NO KEY UPDATE;
    charged := coalesce(v_hold.charged_nanousd, 0);
    lost := coalesce(v_hold.lost_nanousd, 0);
    IF v_hold.id IS NULL THEN
        state := 'unknown';
        RETURN;
    END IF;
    IF v_hold.status = 'settled' OR v_hold.late_at IS NOT NULL OR (v_hold.status = 'released' AND p_cost = 0) THEN
        state := 'already';
        RETURN;
    END IF;
    IF v_hold.status <> 'pending' THEN
        state := 'late';
        lost := p_cost;
        UPDATE billing_hold SET lost_nanousd = p_cost, late_at = v_now, outcome = p_outcome, input_tokens = p_input,
            cached_input_tokens = p_cached_input, cache_write_tokens = p_cache_write, output_tokens = p_output,
            is_counted = p_counted
            WHERE account_id = p_account AND id = p_hold;
    ELSE
        state := 'settled';
        charged := p_cost;
        IF p_cost > v_hold.amount_nanousd THEN
            charged := v_hold.amount_nanousd + least(p_cost - v_hold.amount_nanousd, greatest(0, least(
                v_credit.balance_nanousd - v_credit.held_nanousd, v_keys.free)));
        END IF;
        lost := p_cost - charged;
        UPDATE billing_creditaccount SET balance_nanousd = balance_nanousd - charged,
            held_nanousd = held_nanousd - v_hold.amount_nanousd WHERE account_id = p_account;
        UPDATE apikeys_apikey SET spent_nanousd = spent_nanousd + charged,
            held_nanousd = held_nanousd - v_hold.amount_nanousd WHERE account_id = p_account AND id = ANY (v_key_ids);
        UPDATE billing_hold SET status = p_status, outcome = p_outcome, charged_nanousd = charged, lost_nanousd = lost,
            input_tokens = p_input, cached_input_tokens = p_cached_input, cache_write_tokens = p_cache_write,
            output_tokens = p_output, is_counted = p_counted, resolved_at = v_now
            WHERE account_id = p_account AND id = p_hold;
        IF charged > 0 THEN
            INSERT INTO billing_transferreference (account_id, reference, transfer_id)
                VALUES (p_account, 'hold:' || p_hold, v_transfer);
            INSERT INTO billing_transfer (id, account_id, amount_nanousd, debit, credit, code, reference, reason, hold_id,
                balance_after_nanousd, created_at)
                VALUES (v_transfer, p_account, charged, 'customer', 'revenue', 'charge', 'hold:' || p_hold, '', p_hold,
                v_credit.balance_nanousd - charged, v_now);
        END IF;
    END IF;
    IF lost > 0 THEN
        PERFORM faces_enforce_loss_limits(p_account, v_hold.model, v_now, p_account_loss_limit, p_model_loss_limit);
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
