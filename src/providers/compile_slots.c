/* Which headers and fields a plan looks for, and what it may leave out. */
#include "providers/compile.h"

#include "base/assert.h"

/* Which of the plan's names; 0 = there is no room for another. */
static uint8_t slot_of(struct scheme_plan *plan, struct slice name)
{
    unsigned i = 0;
    while (i < plan->name_count && !slice_equal(plan->names[i], name)) {
        i++;
    }
    if (i == SCHEME_SLOTS_MAX || name.bytes == 0) {
        return 0;
    }
    if (i == plan->name_count) {
        plan->names[i] = name;
        memset(plan->tags[i], http_name_tag(name.at, name.bytes), sizeof plan->tags[i]);
        plan->name_count++;
    }
    return (uint8_t)(i + 1);
}

static void place_slot(struct scheme_plan *plan, struct place *place)
{
    place->slot = place->kind == PLACE_HEADER ? slot_of(plan, place->text) : 0;
    place->twice = place->slot != 0 ? 1U << (15 + place->slot) : 0;
}

/* Those of the signatures first; a handshake's only where they are looked for anyway. */
static void fields_assign(struct scheme_plan *plan)
{
    for (unsigned i = 0; i < plan->program_count; i++) {
        struct program *program = &plan->programs[i];
        fields_add(&plan->fields, &program->select);
        fields_add(&plan->fields, &program->signature);
        fields_add(&plan->fields, &program->timestamp);
        if (program->signs_id) {
            fields_add(&plan->fields, &program->id);
        }
        for (unsigned o = 0; o < program->op_place_count; o++) {
            fields_add(&plan->fields, &program->op_places[o]);
        }
    }
    plan->signed_fields = plan->fields.count > 1 ? plan->fields.count : 0;
    fields_add_places(&plan->fields, &plan->id);
    fields_add_places(&plan->fields, &plan->type);
    fields_add_places(&plan->fields, &plan->within);
    for (unsigned i = 0; i < plan->handshake_count; i++) {
        struct place *when = &plan->handshakes[i].when;
        when->field = fields_of(&plan->fields, when, false);
    }
}

static void slots_assign(struct scheme_plan *plan)
{
    uint32_t mask = 0;
    bool all = true;
    for (unsigned i = 0; i < plan->program_count; i++) {
        struct program *program = &plan->programs[i];
        place_slot(plan, &program->signature);
        place_slot(plan, &program->timestamp);
        place_slot(plan, &program->id);
        place_slot(plan, &program->select);
    }
    for (unsigned i = 0; i < plan->id.count; i++) {
        place_slot(plan, &plan->id.at[i]);
    }
    for (unsigned i = 0; i < plan->type.count; i++) {
        place_slot(plan, &plan->type.at[i]);
    }
    for (unsigned i = 0; i < plan->handshake_count; i++) {
        place_slot(plan, &plan->handshakes[i].when);
    }
    for (unsigned i = 0; i < plan->secret_name_count; i++) {
        plan->secret_slots[i] = slot_of(plan, plan->secret_names[i]);
        mask |= plan->secret_slots[i] != 0 ? 1U << (plan->secret_slots[i] - 1) : 0;
        all = all && plan->secret_slots[i] != 0;
    }
    bool known = all && plan->secret_field_count == 0;
    plan->secret_mask = known ? mask : 0;
    plan->secret_none = known ? 0 : 1;
}

static void told_assign(struct scheme_plan *plan)
{
    const struct handshake *last = &plan->handshakes[plan->unsigned_count];
    if (plan->handshake_count == plan->unsigned_count + 1 && last->equals.bytes != 0) {
        plan->told = last->when.slot != 0 || last->when.kind == PLACE_FIELD ? &last->when : NULL;
        plan->told_last = last->equals.at[last->equals.bytes - 1];
    }
}

/* Those that are not signed are looked for in forms only. */
static void forms_assign(struct scheme_plan *plan)
{
    plan->unsigned_forms = plan->unsigned_count != 0;
    for (unsigned i = 0; i < plan->unsigned_count; i++) {
        plan->unsigned_forms &= plan->handshakes[i].when.kind == PLACE_FORM;
    }
}

/* Which of the ids counts: one that is signed must be what the event is known by, or who has one
 * genuine signature could send it again under other names. */
static void id_assign(struct scheme_plan *plan)
{
    for (unsigned i = 0; i < plan->program_count; i++) {
        const struct program *program = &plan->programs[i];
        plan->id_is_signed |= program->signs_id && (plan->program_count > 1 || plan->id.count > 1);
        bk_assert(!program->signs_id || !program->row->tries_otherwise);
    }
}

/* Slot 0 is there in every request. */
static void only_assign(struct scheme_plan *plan)
{
    const struct program *first = &plan->programs[0];
    bool single = plan->program_count == 1;
    if (plan->program_count == 0 || first->row->tries_otherwise) {
        return;
    }
    bool in_header = plan->signed_fields == 0 && (single || first->select_slot != 0);
    bool in_field = scheme_finds_fields(first) && first->row->select == NULL;
    if ((plan->unsigned_count == 0 || plan->unsigned_forms) && (in_header || in_field)) {
        plan->only = first;
        plan->only_slot = single || in_field ? 0 : first->select_slot;
    }
}

void slots_compile(struct scheme_plan *plan)
{
    slots_assign(plan);
    fields_assign(plan);
    told_assign(plan);
    forms_assign(plan);
    id_assign(plan);
    for (unsigned i = 0; i < plan->program_count; i++) {
        struct program *program = &plan->programs[i];
        program->verify = scheme_verify_fn(program);
        program->plain = scheme_is_plain(program);
        program->last = i + 1 == plan->program_count;
        program->select_slot = program->select_equals.bytes == 0 ? program->select.slot : 0;
    }
    only_assign(plan);
    plan->verify = scheme_plan_verify(plan);
}
