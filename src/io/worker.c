#include "io/worker.h"

#include "base/check.h"

#include <pthread.h>
#include <stdlib.h>

#define THREADS_MAX 64

struct io_workers {
    pthread_mutex_t lock;
    pthread_cond_t posted;
    struct io_job *first, **end;
    bool stopping;
    unsigned thread_count;
    pthread_t threads[THREADS_MAX];
};

static void job_come_back(struct io_task *task)
{
    struct io_job *job = LIST_ENTRY(task, struct io_job, task);
    job->done(job);
}

static void job_do(struct io_job *job)
{
    struct io_loop *loop = job->loop;
    bool comes_back = job->done != NULL;
    job->work(job); /* without `done` it may have freed itself */
    if (comes_back) {
        job->task.run = job_come_back;
        io_loop_post(loop, &job->task);
    }
}

static void *worker_main(void *ctx)
{
    struct io_workers *self = ctx;
    pthread_mutex_lock(&self->lock);
    for (;;) {
        while (!self->first && !self->stopping)
            pthread_cond_wait(&self->posted, &self->lock);
        struct io_job *job = self->first;
        if (!job)
            break;
        self->first = job->next;
        if (!self->first)
            self->end = &self->first;
        pthread_mutex_unlock(&self->lock);
        job_do(job);
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

err io_workers_new(unsigned threads, struct io_workers **ret_workers)
{
    CHECK(threads >= 1 && threads <= THREADS_MAX);
    struct io_workers *self = calloc(1, sizeof(*self));
    CHECK(self);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->posted, NULL);
    self->end = &self->first;
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&self->threads[i], NULL, worker_main, self)) {
            io_workers_free(self);
            return ERR_LIMIT;
        }
        self->thread_count++;
    }
    *ret_workers = self;
    return OK;
}

void io_workers_free(struct io_workers *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    pthread_cond_broadcast(&self->posted);
    pthread_mutex_unlock(&self->lock);
    for (unsigned i = 0; i < self->thread_count; i++)
        CHECK(pthread_join(self->threads[i], NULL) == 0);
    CHECK(!self->first);
    pthread_cond_destroy(&self->posted);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

void io_workers_post(struct io_workers *self, struct io_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&self->lock);
    *self->end = job;
    self->end = &job->next;
    pthread_cond_signal(&self->posted);
    pthread_mutex_unlock(&self->lock);
}
