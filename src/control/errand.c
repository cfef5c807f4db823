#include "control/control_private.h"

static void errand_back(struct ring_mail *mail)
{
    struct errand *errand = bk_container_of(mail, struct errand, mail);
    errand->back(errand);
}

static void errand_there(struct ring_mail *mail)
{
    struct errand *errand = bk_container_of(mail, struct errand, mail);
    if (errand->there) {
        errand->there(errand->core);
    }
    if (errand->back) {
        mail->run = errand_back;
        ring_post(errand->core->ring, errand->control->ring, mail);
    }
}

static void errand_settled(struct ingress_settled *settled)
{
    struct errand *errand = bk_container_of(settled, struct errand, settled);
    errand->mail.run = errand_back;
    ring_post(errand->core->ring, errand->control->ring, &errand->mail);
}

/* The same, but it goes back when no exchange from before waits for the disk any more. */
static void errand_there_settling(struct ring_mail *mail)
{
    struct errand *errand = bk_container_of(mail, struct errand, mail);
    errand->there(errand->core);
    reactor_when_settled(errand->core->reactor, &errand->settled, errand_settled);
}

void errand_send(struct errand *errand, struct core *core, void (*there)(struct core *),
                 void (*back)(struct errand *))
{
    errand->control = core->control;
    errand->core = core;
    errand->there = there;
    errand->back = back;
    errand->mail.run = errand->settling ? errand_there_settling : errand_there;
    ring_post(core->control->ring, core->ring, &errand->mail);
}

void errand_report(struct errand *errand, struct core *core, void (*back)(struct errand *))
{
    errand->control = core->control;
    errand->core = core;
    errand->back = back;
    errand->mail.run = errand_back;
    ring_post(core->ring, core->control->ring, &errand->mail);
}
