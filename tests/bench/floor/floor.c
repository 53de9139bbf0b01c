/* The floor: what a start costs when nobody checks anything.
 *
 * It makes the same namespaces, mounts, cgroups and ids as one start of casemate and executes the same binary, in bare
 * system calls, with everything known when it is compiled (recipe.h, which the benchmark writes from the very job that it
 * sends to the helper). It leaves out every check, Landlock, seccomp, capability sets, the keyring, and pipes.
 *
 * Entered as root with a SOCK_SEQPACKET socket as descriptor 3 and, in argv[1], the map of user namespace A.
 * One byte in: one start. One byte out: the exit status, 255 when a step failed (standard error says which).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct tmpfs { const char *target, *options; unsigned long flags; };
struct file { const char *name, *target, *content; };
struct node { const char *source, *target; };
struct limit { const char *file, *value; };
#include "recipe.h" /* LAYERS, ROOT, PROC, UID, GID, HOSTNAME and the tables used below */

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))
#define TRY(call) do { if ((call) < 0) { perror(#call); _exit(255); } } while (0)

enum { SOCKET = 3 };
static int tasks[16], unified = -1;

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) { perror(path); _exit(255); }
    close(fd);
}

static void make_cgroups(void)
{
    for (int i = 0; i < COUNT(v1_tasks); i++) TRY(mkdir(v1_groups[i], 0755));
    for (int i = 0; i < COUNT(v2_groups); i++) {
        TRY(mkdir(v2_groups[i], 0755));
        TRY(unified = open(v2_groups[i], O_DIRECTORY | O_CLOEXEC));
    }
    for (int i = 0; i < COUNT(limits); i++) put(limits[i].file, limits[i].value);
    for (int i = 0; i < COUNT(v1_tasks); i++) TRY(tasks[i] = open(v1_tasks[i], O_WRONLY | O_CLOEXEC));
}

static void remove_cgroups(void)
{
    for (int i = 0; i < COUNT(v1_tasks); i++) { close(tasks[i]); TRY(rmdir(v1_groups[i])); }
    for (int i = 0; i < COUNT(v2_groups); i++) { close(unified); TRY(rmdir(v2_groups[i])); }
}

static void mask(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) return; /* this kernel does not have it */
    if (S_ISDIR(st.st_mode))
        TRY(mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4096,nr_inodes=1"));
    else
        TRY(mount("dev/null", path, NULL, MS_BIND, NULL));
}

static void make_read_only(const char *path)
{
    if (access(path, F_OK) < 0) return;
    TRY(mount(path, path, NULL, MS_BIND, NULL));
    TRY(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
}

/* tmpfs, the host's nodes bound one by one, links, a devpts of its own, shared memory */
static void make_dev(void)
{
    TRY(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=65536,nr_inodes=64"));
    for (int i = 0; i < COUNT(nodes); i++) {
        int fd = open(nodes[i].target, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
        TRY(fd);
        close(fd);
        TRY(mount(nodes[i].source, nodes[i].target, NULL, MS_BIND, NULL));
    }
    TRY(symlink("/proc/self/fd", "dev/fd"));
    TRY(symlink("/proc/self/fd/0", "dev/stdin"));
    TRY(symlink("/proc/self/fd/1", "dev/stdout"));
    TRY(symlink("/proc/self/fd/2", "dev/stderr"));
    TRY(symlink("pts/ptmx", "dev/ptmx"));
    TRY(mkdir("dev/pts", 0755));
    TRY(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
    TRY(mkdir("dev/shm", 0755));
}

static void make_room(void)
{
    TRY(mount("overlay", ROOT, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, LAYERS));
    TRY(chdir(ROOT));
    make_dev();
    TRY(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, PROC));
    for (int i = 0; i < COUNT(masked); i++) mask(masked[i]);
    for (int i = 0; i < COUNT(read_only); i++) make_read_only(read_only[i]);
    for (int i = 0; i < COUNT(tmpfs); i++)
        TRY(mount("tmpfs", tmpfs[i].target, "tmpfs", tmpfs[i].flags, tmpfs[i].options));
    for (int i = 0; i < COUNT(files); i++) {
        int fd = open(files[i].name, O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
        TRY(fd);
        TRY(write(fd, files[i].content, strlen(files[i].content)));
        close(fd);
        TRY(mount(files[i].name, files[i].target, NULL, MS_BIND, NULL));
        TRY(unlink(files[i].name));
    }
    TRY(syscall(SYS_pivot_root, ".", "."));
    TRY(umount2(".", MNT_DETACH));
    TRY(chdir("/"));
}

static void raise_loopback(void)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    TRY(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

static void become_the_user(void)
{
    char map[64];
    TRY(setgroups(0, NULL));
    TRY(setresgid(GID, GID, GID));
    TRY(setresuid(UID, UID, UID));
    TRY(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    TRY(unshare(CLONE_NEWUSER)); /* P: one uid, one gid */
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%d %d 1", UID, UID);
    put("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%d %d 1", GID, GID);
    put("/proc/self/gid_map", map);
}

static void contained(void)
{
    static char *const argv[] = { "/bin/true", NULL }, *const env[] = { "PATH=/bin", NULL };
    for (int i = 0; i < COUNT(v1_tasks); i++) TRY(write(tasks[i], "0", 1));
    make_room();
    TRY(unshare(CLONE_NEWCGROUP));
    TRY(sethostname(HOSTNAME, strlen(HOSTNAME)));
    raise_loopback();
    TRY(setsid());
    become_the_user();
    TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    TRY(syscall(SYS_close_range, 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */));
    execve(argv[0], argv, env);
    perror("execve");
    _exit(255);
}

static void serve(void)
{
    char byte;
    while (recv(SOCKET, &byte, 1, 0) == 1) {
        int status;
        make_cgroups();
        struct clone_args args = {
            .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
                | (unified < 0 ? 0 : 0x200000000ULL /* CLONE_INTO_CGROUP */),
            .exit_signal = SIGCHLD,
            .cgroup = unified < 0 ? 0 : (unsigned)unified,
        };
        pid_t pid = syscall(SYS_clone3, &args, sizeof args);
        TRY(pid);
        if (pid == 0) contained();
        TRY(waitpid(pid, &status, 0));
        byte = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
        TRY(send(SOCKET, &byte, 1, 0));
        remove_cgroups(); /* not counted, here as there */
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    char path[64], byte;
    int ready[2], status;
    if (argc != 2) return 2;
    TRY(pipe2(ready, O_CLOEXEC));
    struct clone_args args = {
        .flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
        .exit_signal = SIGCHLD,
    };
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    TRY(pid);
    if (pid == 0) {
        TRY(read(ready[0], &byte, 1));
        TRY(setresgid(0, 0, 0));
        TRY(setresuid(0, 0, 0));
        TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        TRY(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
        serve();
    }
    snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
    put(path, argv[1]);
    snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
    put(path, argv[1]);
    TRY(write(ready[1], "g", 1));
    close(SOCKET);
    TRY(waitpid(pid, &status, 0));
    return 0;
}
