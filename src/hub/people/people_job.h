/* people_job.h - inside the keeper: one call for somebody's tokens, out or to be stored.
 *
 * Ownership   A job is the keeper's until job_free(). An answer ends it, unless a renewal's tokens
 *             could not be stored: then it is held and tried again.
 */
#ifndef BECKET_HUB_PEOPLE_JOB_H
#define BECKET_HUB_PEOPLE_JOB_H

#include "base/list.h"
#include "base/time.h"
#include "hub/calls/web_call.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people.h"
#include "hub/people/people_keeper.h"

#define JOB_AGAIN_LAST_NS   (600 * NS_PER_SECOND)
#define JOB_ARENA_BYTES_MAX (1U << 20)

/* One call that is out, or what came of it and is not in the store yet. */
struct job {
    struct list node;
    struct people_keeper *keeper;
    bool revokes;
    uint8_t id[16];  /* of the IntegrationUser */
    uint64_t number; /* of the revocation */
    struct arena arena;
    struct people_grant grant; /* what is to be renewed, texts in the arena */
    struct people_oauth oauth;
    char name[NAME_BYTES_MAX + 1];
    struct slice refresh_token; /* the one that is used */
    struct slice revoked_token; /* of a revocation */
    bool by_query;              /* asked in the other form */
    struct slice canvas;        /* of the integration */
    int64_t begun_ns;           /* an earlier renewal whose outcome is not known; 0 = none */
    int64_t expires_ns;         /* of the access token there is; 0 = never */
    struct json_tree tree;      /* the new tokens */
    bool holding;
    int64_t again_ns, hold_pause_ns;
};

/* Tries of what failed, so that a provider that is down is not asked at every turn. Forgotten with
 * the process: then it is asked once more. Two ids that share a place wait for each other: if one
 * took it from the other, neither would ever wait. */
#define TRIES_KEPT 4096U
struct tries {
    unsigned count;
    int64_t until_ns;
};

struct people_keeper {
    struct hub *hub;
    struct outbound *outbound;
    web_call_fn *call;
    struct list jobs;
    unsigned job_count;
    bool woken;
    int64_t now_ns;
    int64_t next_ns;
    struct tries tries[TRIES_KEPT];
};

/* ---- people_keeper.c */
struct job *job_make(struct people_keeper *keeper, const uint8_t id[16], bool revokes);
void job_free(struct job *job);
/* Its answer ends the job; an error: nothing was sent. */
enum bk_err job_call(struct job *job, const struct oauth2_request *request,
                     const char **ret_why) BK_MUST_CHECK;
/* Of the stored spec: everything that a renewal leaves as it is. */
void job_fill_grant(struct job *job, const struct integration_view *person, struct slice canvas);
struct slice job_kept(struct job *job, struct slice text);
struct tries *tries_of(struct people_keeper *keeper, const uint8_t id[16]);
/* The next try is later; how many failed. */
unsigned note_failure(struct people_keeper *keeper, const uint8_t id[16]);

/* ---- people_renewal.c */
void renewal_begin(struct people_keeper *keeper, const uint8_t id[16]);
/* True when the job is over; else it is held. */
bool renewal_end(struct job *job, const struct outbound_answer *answer);
/* The new tokens into the store, or to be revoked. True when there is nothing left to do. */
bool renewal_settle(struct job *job);

/* ---- people_revocation.c */
void revocation_begin(struct people_keeper *keeper, uint64_t number);
/* False: it was asked once more, in the other form. */
bool revocation_end(struct job *job, const struct outbound_answer *answer);

#endif
